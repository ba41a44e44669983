"""``kubectl disagg convert``: Dynamo's DynamoGraphDeployment as a DisaggDeployment, offline.

Standard output is the resource, so that it can go into a file; what became of the input goes to standard
error.
Exit codes: 0 converted and accepted, 1 cannot be converted, 3 converted, but the operator would refuse it.
"""

import json
from typing import Annotated

import typer

from disagg_operator.cli import documents
from disagg_operator.cli.convert import report
from disagg_operator.cli.convert.bundle import bundle_of
from disagg_operator.cli.convert.conversion import Conversion, Wishes, converted
from disagg_operator.cli.convert.faults import ConversionError
from disagg_operator.cli.convert.graph import GRAPH, GROUP
from disagg_operator.cli.convert.ledger import Fate
from disagg_operator.cli.planning import released_worker_image
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.terminal import Form, UserError, errors, fail, printable, show, warn
from disagg_operator.plan.installation import Installation

REFUSED = 3
"""Exit code of a resource that the operator would refuse; 2 is wrong usage."""
EPILOG = (
    "Exit codes: 0 converted and accepted, 1 cannot be converted, 2 wrong usage, 3 converted, but the "
    "operator would refuse it: the problems are shown."
)
_LEFT = (Fate.DROPPED, Fate.DERIVED)


def convert(
    file: Annotated[
        str,
        typer.Option(
            "--file",
            "-f",
            help="YAML file with DynamoGraphDeployments, and ConfigMaps and ComputeDomain beside them; "
            "- reads stdin.",
        ),
    ],
    *,
    platform: Annotated[
        str, typer.Option(help="Platform to write. Default: found by labels and devices.", show_default=False)
    ] = "",
    runtime_version: Annotated[
        str, typer.Option(help="Version of Dynamo to write. Default: of the image's tag.", show_default=False)
    ] = "",
    explain: Annotated[
        bool,
        typer.Option("--explain", help="Show what became of every field, mapped ones too, not the resource."),
    ] = False,
    profiles: ProfilesFolder = None,
    form: Annotated[
        Form,
        typer.Option(
            "--output", "-o", help="yaml: the resource alone; json: resource and report for programs."
        ),
    ] = Form.TEXT,
) -> None:
    """Turn Dynamo's DynamoGraphDeployments into DisaggDeployments, and tell what became of every field."""
    try:
        installation = Installation(worker_image=released_worker_image(), catalogue=catalogue(profiles))
        conversions = _converted(file, installation, Wishes(platform, runtime_version))
    except UserError as error:
        fail(error)
    if form is Form.JSON:
        typer.echo(json.dumps([report.document(each) for each in conversions], indent=2))
    elif explain:
        for each in conversions:
            show(report.CHOICE_HEADINGS, report.choice_rows(each), title=each.graph)
            show(report.NOTE_HEADINGS, report.note_rows(each.notes))
    else:
        typer.echo(documents.write([dict(each.resource) for each in conversions]), nl=False)
        if form is Form.TEXT:
            for each in conversions:
                _tell(each)
    for each in conversions:
        for warning in each.warnings:
            warn(f"{each.graph}: {warning}")
        if each.problems:
            _print(f"{each.graph} is converted, but the operator would refuse it:")
            for problem in each.problems:
                _print(f"  {problem}")
    if any(each.problems for each in conversions):
        raise typer.Exit(REFUSED)


def _converted(file: str, installation: Installation, wishes: Wishes) -> list[Conversion]:
    bundle = bundle_of(documents.read_any(file))
    if not bundle.graphs:
        kinds = ", ".join(sorted({part["kind"].text or "no kind" for part in bundle.beside})) or "no document"
        raise UserError(f"{documents.label(file)}: holds no {GRAPH} of {GROUP} (found: {kinds})")
    found = []
    for graph in bundle.graphs:
        try:
            found.append(converted(graph, bundle, installation, wishes))
        except ConversionError as error:
            name = graph.at("metadata", "name").text or "?"
            raise UserError(f"{documents.label(file)}: {GRAPH} {name}: {error}") from None
    return found


def _tell(conversion: Conversion) -> None:
    show(report.CHOICE_HEADINGS, report.choice_rows(conversion), title=conversion.graph, to_errors=True)
    show(report.NOTE_HEADINGS, report.note_rows(conversion.notes, _LEFT), to_errors=True)
    _print(f"{report.summary(conversion)} (mapped ones are shown by --explain)")


def _print(line: str) -> None:
    errors().print(printable(line), markup=False, highlight=False, soft_wrap=True)
