"""``kubectl disagg status``: how deployments are, and what each waits for and since when.

Exit codes are those of `exit_codes.Code`: scripts read from them whether all is served.
"""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from disagg_operator.cli import documents
from disagg_operator.cli.cluster_options import (
    ContextOption,
    KubeconfigOption,
    NamespaceOption,
    names,
    seconds,
)
from disagg_operator.cli.connecting import connected
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.place import Place
from disagg_operator.cli.status_report import Section, code, of_all, of_one
from disagg_operator.cli.terminal import Fitting, Form, UserError, dense, fail, printable, show

EPILOG = (
    "Exit codes: 0 all that is shown serves requests, 1 something does not, is refused, or has a transport "
    "worse than promised, 2 the operator has not told yet, "
    "3 it could not be read, 64 wrong usage, 130 interrupted."
)


def status(
    name: Annotated[
        str,
        typer.Argument(
            help="Name of the DisaggDeployment. Default: all.",
            show_default=False,
            autocompletion=names("deployments"),
        ),
    ] = "",
    *,
    everywhere: Annotated[
        bool, typer.Option("--all-namespaces", "-A", help="All deployments of the cluster.")
    ] = False,
    nics: Annotated[
        bool, typer.Option("--nics", help="Ask the agents beside the workers which NICs moved how much.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Show it anew until Ctrl-C; in a pipe, once.")
    ] = False,
    every: Annotated[
        float, typer.Option("--every", parser=seconds, metavar="DURATION", help="Pause of --watch.")
    ] = "2s",  # type: ignore[assignment]  # the parser reads it
    form: Annotated[Form, typer.Option("--output", "-o", help="text: tables.")] = Form.TEXT,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Show how deployments are: roles, pods, nodes, NICs, transport, rollout, and what they wait for."""
    from disagg_operator.cli.live import overviews  # noqa: PLC0415 - loads the Kubernetes client

    if name and everywhere:
        fail(UserError("Name a deployment or give --all-namespaces, not both."), Code.USAGE)
    if nics and not name:
        fail(UserError("--nics asks the agents of one deployment: name it."), Code.USAGE)

    async def look(connection: Any) -> list[dict[str, Any]]:
        if name:
            return [await overviews.one(connection, name, nics=nics)]
        return await overviews.every(connection, everywhere=everywhere)

    async def work(connection: Any) -> list[dict[str, Any]]:
        found = await look(connection)
        console = Console()
        if not watch or form is not Form.TEXT or not console.is_terminal:
            return found
        with Live(_screen(_sections(found, name, everywhere)), console=console, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(every)
                try:
                    trouble, found = "", await look(connection)
                except UserError as error:
                    trouble = str(error)
                live.update(_screen(_sections(found, name, everywhere), trouble), refresh=True)

    try:
        found = connected(Place(namespace, context, kubeconfig), work)
    except UserError as error:
        fail(error, Code.ERROR)
    _print(found, name, form, everywhere=everywhere)
    raise typer.Exit(code(found))


def _sections(found: Sequence[dict[str, Any]], name: str, everywhere: bool) -> list[Section]:
    now = datetime.now(UTC)
    return of_one(found[0], now) if name else [of_all(found, now, namespaces=everywhere)]


def _screen(sections: Sequence[Section], trouble: str = "") -> RenderableType:
    """Return what a terminal shows; what it shows is kept while the cluster does not answer."""
    parts: list[RenderableType] = [Text(printable(trouble), style="bold red")] if trouble else []
    for section in sections:
        if section.title:
            parts.append(Text(printable(section.title), style="bold"))
        parts.append(dense(section.headings, section.rows))
    return Fitting(*parts)


def _print(found: Sequence[dict[str, Any]], name: str, form: Form, *, everywhere: bool) -> None:
    if documents.told(found[0] if name else list(found), form):
        return
    if not found:
        typer.echo("There is no DisaggDeployment here. `kubectl disagg status --all-namespaces` shows all.")
    else:
        for section in _sections(found, name, everywhere):
            show(section.headings, section.rows, title=section.title)
