"""``kubectl disagg doctor`` as a user calls it."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from disagg_operator.cli import documents
from disagg_operator.cli.cluster_options import ContextOption, KubeconfigOption, NameArgument, NamespaceOption
from disagg_operator.cli.connecting import connected
from disagg_operator.cli.doctor.bundle import files, forbidden, redactor_of, refuse_taken, text_of, write
from disagg_operator.cli.doctor.collected import Collected
from disagg_operator.cli.doctor.findings import Finding, findings
from disagg_operator.cli.doctor.redaction import Redactor
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.place import Place
from disagg_operator.cli.steps import Steps
from disagg_operator.cli.terminal import Form, UserError, errors, fail, printable

EPILOG = (
    "Exit codes: 0 nothing wrong was found in what you may read, 1 something was, 3 the deployment could not "
    "be read or the bundle not be written, 64 wrong usage, 130 interrupted."
)


def doctor(
    name: NameArgument,
    *,
    bundle: Annotated[
        Path | None,
        typer.Option("--bundle", help="File to write. Default: NAME-doctor-TIME.tar.gz.", show_default=False),
    ] = None,
    tail: Annotated[int, typer.Option("--tail", min=1, help="Last lines of each container's log.")] = 2000,
    form: Annotated[
        Form, typer.Option("--output", "-o", help="json, yaml: the findings on standard output.")
    ] = Form.TEXT,
    namespace: NamespaceOption = "",
    context: ContextOption = "",
    kubeconfig: KubeconfigOption = None,
) -> None:
    """Collect all that tells how a deployment is, without secrets, and say what is wrong with it."""
    from disagg_operator.cli.live import collecting  # noqa: PLC0415 - loads the Kubernetes client

    async def work(connection: Any) -> Collected:
        with Steps(errors()) as steps:
            return await collecting.collect(connection, name, tail, steps)

    now = datetime.now(UTC)
    root = f"{name}-doctor-{now:%Y%m%dT%H%M%SZ}"
    target = bundle or Path(f"{root}.tar.gz")
    try:
        refuse_taken(target)
        found = connected(Place(namespace, context, kubeconfig), work)
        told = findings(found, datetime.now(UTC))
        redactor = redactor_of(found)
        write(target, root, files(found, told, redactor, now), now)
    except UserError as error:
        fail(error, Code.ERROR)
    _print(found, told, redactor, target, form)
    raise typer.Exit(Code.NOT_VERIFIED if told else Code.VERIFIED)


def _print(found: Collected, told: list[Finding], redactor: Redactor, target: Path, form: Form) -> None:
    """Print the findings, as free of secrets as the bundle: they are pasted into tickets."""
    document = {
        "namespace": found.resource["metadata"]["namespace"],
        "name": found.resource["metadata"]["name"],
        "bundle": str(target),
        "findings": [redactor.object(asdict(each)) for each in told],
        "unread": redactor.object(
            [
                {"what": what, "why": each.why, "cause": each.cause.value}
                for what, each in found.unread.items()
            ]
        ),
    }
    if not documents.told(document, form):
        typer.echo(printable(redactor.text(text_of(told) + forbidden(found.unread))), nl=False)
        Console(stderr=True).print(
            f"The bundle is {target}. Look into it before you send it on.", markup=False, soft_wrap=True
        )
