"""The options of commands that speak to a cluster, named as kubectl names them; and their exit codes."""

import asyncio
import re
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

T = TypeVar("T")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)?")
_UNITS = {None: 1, "s": 1, "m": 60, "h": 3600}
_CLICK_USAGE = 2


class Code(IntEnum):
    """Exit codes of commands that scripts ask about a deployment."""

    VERIFIED = 0
    NOT_VERIFIED = 1
    UNKNOWN = 2
    ERROR = 3
    TIMEOUT = 4
    BUG = 70
    """EX_SOFTWARE of sysexits.h: 1, which a stack trace has elsewhere, is taken."""
    USAGE = 64
    """EX_USAGE of sysexits.h: 2, which wrong usage has elsewhere, is taken."""


class ScriptedCommand(TyperCommand):
    """A command whose exit codes 1 and 2 are results: wrong usage and bugs have others."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the command line; see `TyperCommand`."""
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", None) == _CLICK_USAGE:
                error.exit_code = Code.USAGE  # type: ignore[attr-defined]
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see `TyperCommand`."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            if hasattr(error, "exit_code") or isinstance(
                error, BrokenPipeError
            ):  # on purpose, or nobody reads
                raise
            traceback.print_exc()
            raise typer.Exit(Code.BUG) from None


@dataclass(frozen=True)
class Place:
    """Which cluster and namespace a command is for.

    Attributes:
        namespace: name, or nothing for the context's.
        context: name of a context of the kubeconfig, or nothing for the current one.
        kubeconfig: file, or None for ``$KUBECONFIG``, ``~/.kube/config`` or the pod's own account.
    """

    namespace: str = ""
    context: str = ""
    kubeconfig: Path | None = None


def names(of: str) -> Callable[[typer.Context, str], list[str]]:
    """Return what offers names to a shell.

    Args:
        of: a key of `live.candidates.FOUND`.
    """

    def offered(context: typer.Context, incomplete: str) -> list[str]:
        from disagg_operator.cli.live import candidates  # noqa: PLC0415 - loads the Kubernetes client

        given = {field.name: context.params.get(field.name) for field in fields(Place)}
        place = Place(**{key: value for key, value in given.items() if value})
        return [name for name in candidates.FOUND[of](place) if name.startswith(incomplete)]

    return offered


NameArgument = Annotated[
    str, typer.Argument(help="Name of the DisaggDeployment.", autocompletion=names("deployments"))
]
NamespaceOption = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Namespace of the deployment. Default: the context's.",
        show_default=False,
        autocompletion=names("namespaces"),
    ),
]
ContextOption = Annotated[
    str,
    typer.Option(
        "--context",
        help="Context of the kubeconfig. Default: the current one.",
        show_default=False,
        autocompletion=names("contexts"),
    ),
]
KubeconfigOption = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", help="Default: $KUBECONFIG or ~/.kube/config, as for kubectl.", show_default=False
    ),
]


def seconds(text: str) -> float:
    """Return a duration in seconds, from a number or as kubectl writes it: ``90``, ``90s``, ``5m``, ``1h``.

    Raises:
        typer.BadParameter: it is neither.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or not float(found[1]):
        raise typer.BadParameter(f"{text!r} is no duration: write seconds, or 90s, 5m or 1h")
    return float(found[1]) * _UNITS[found[2]]


def connected(place: Place, work: Callable[[Any], Awaitable[T]]) -> T:
    """Do work with a `live.connection.Connection` to the cluster, and return what it returns.

    Raises:
        UserError: there is no usable kubeconfig.
    """
    from disagg_operator.cli.live import connection  # noqa: PLC0415 - loads the Kubernetes client

    async def run() -> T:
        async with connection.connect(place) as found:
            return await work(found)

    return asyncio.run(run())
