"""``kubectl disagg verify``: has the operator measure how KV cache moves, and shows each step and the result.

Exit codes are those of `exit_codes.Code`: scripts read the result from them.
"""

from typing import Annotated, Any

import typer
from rich.console import Console

from disagg_operator.cli import documents
from disagg_operator.cli.cluster_options import (
    ContextOption,
    KubeconfigOption,
    NameArgument,
    NamespaceOption,
    seconds,
)
from disagg_operator.cli.connecting import connected
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.place import Place
from disagg_operator.cli.steps import Steps
from disagg_operator.cli.terminal import Form, UserError, errors, fail, show
from disagg_operator.cli.transport_report import HEADINGS, code, document, rows

EPILOG = (
    "Exit codes: 0 verified, 1 not verified, 2 unknown, 3 it could not be asked for or nobody answers, "
    "4 no result in time, 64 wrong usage, 130 interrupted."
)


def verify(
    name: NameArgument,
    *,
    run: Annotated[
        bool, typer.Option("--run/--no-run", help="Measure now, or only show the last result.")
    ] = True,
    timeout: Annotated[
        float,
        typer.Option(
            parser=seconds, metavar="DURATION", help="Longest wait for the result, such as 90s or 5m."
        ),
    ] = "10m",  # type: ignore[assignment]  # the parser reads it
    form: Annotated[
        Form,
        typer.Option("--output", "-o", help="json, yaml: the result on standard output, steps on error."),
    ] = Form.TEXT,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Have the operator measure now how KV cache moves, and show each step and the result."""
    from disagg_operator.cli.live.verification import (  # noqa: PLC0415 - loads the Kubernetes client
        Patience,
        TimedOutError,
        read,
        verified,
    )

    async def work(connection: Any) -> dict[str, Any]:
        if not run:
            return await read(connection, name)
        with Steps(Console() if form is Form.TEXT else errors()) as steps:
            return await verified(connection, name, Patience(timeout), steps)

    try:
        resource = connected(Place(namespace, context, kubeconfig), work)
    except TimedOutError as error:
        fail(error, Code.TIMEOUT)
    except UserError as error:
        fail(error, Code.ERROR)
    _print(resource, form)
    raise typer.Exit(code(resource))


def _print(resource: dict[str, Any], form: Form) -> None:
    if not documents.told(document(resource), form):
        metadata = resource["metadata"]
        show(HEADINGS, rows(resource), title=f"{metadata['namespace']}/{metadata['name']}")
