"""``kubectl disagg logs``: the logs of all pods of a deployment or a role, each line marked by its pod."""

import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from disagg_operator.cli.cluster_options import (
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    seconds,
)
from disagg_operator.cli.connecting import connected
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.log_lines import Palette, coloured, plain
from disagg_operator.cli.overview import SHOWN_ROLES
from disagg_operator.cli.place import Place
from disagg_operator.cli.terminal import UserError, fail, warn

EPILOG = "Exit codes: 0 done, 3 no log could be read, 64 wrong usage, 130 interrupted."
_ALL = -1


def _role(text: str) -> str:
    if text not in SHOWN_ROLES:
        raise typer.BadParameter(
            f"{text!r} is no role: write {', '.join(SHOWN_ROLES[:-1])} or {SHOWN_ROLES[-1]}"
        )
    return text


def _roles(incomplete: str) -> list[str]:
    return [role for role in SHOWN_ROLES if role.startswith(incomplete)]


def logs(
    name: NameArgument,
    *,
    role: Annotated[
        str | None,
        typer.Option(
            "--role",
            "-r",
            parser=_role,
            metavar=f"[{'|'.join(SHOWN_ROLES)}]",
            help="Default: all pods.",
            show_default=False,
            autocompletion=_roles,
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what comes, and with pods that come.")
    ] = False,
    since: Annotated[
        float | None,
        typer.Option("--since", parser=seconds, metavar="DURATION", help="Nothing older, such as 90s or 5m."),
    ] = None,
    tail: Annotated[int, typer.Option("--tail", min=_ALL, help="Last lines of each pod; -1: all.")] = 50,
    container: Annotated[
        str,
        typer.Option(
            "--container",
            "-c",
            help="Container. Default: the one that serves; transport-agent is beside it.",
            show_default=False,
        ),
    ] = "",
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the run before, where a container was restarted.")
    ] = False,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Print the logs of all pods, ranks of pod groups among them; each line begins with its pod."""
    from disagg_operator.cli.live.following import (  # noqa: PLC0415 - loads the Kubernetes client
        Audience,
        Wish,
        read,
    )
    from disagg_operator.cli.live.pod_logs import Extent  # noqa: PLC0415 - the same

    if previous and follow:
        fail(UserError("What ended is not followed: give --previous or --follow."), Code.USAGE)
    extent = Extent(
        tail=None if tail == _ALL else tail,
        since_seconds=None if since is None else max(1, round(since)),
        previous=previous,
        follow=follow,
    )
    tell = _teller()

    async def work(connection: Any) -> None:
        await read(connection, Wish(name, role or "", container, extent), Audience(tell, warn))

    try:
        connected(Place(namespace, context, kubeconfig), work)
    except UserError as error:
        fail(error, Code.ERROR)


def _teller() -> Any:
    """Return what prints a line of a pod: in colour in a terminal, as it is in a pipe."""
    console, palette = Console(), Palette()

    def in_colour(pod: str, line: str) -> None:
        console.print(coloured(pod, line, palette.of(pod)), soft_wrap=True)

    def as_it_is(pod: str, line: str) -> None:
        sys.stdout.write(f"{plain(pod, line)}\n")
        sys.stdout.flush()

    return in_colour if console.is_terminal else as_it_is
