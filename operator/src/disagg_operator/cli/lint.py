"""``kubectl disagg lint``: what is wrong or doubtful about resources, offline, as the operator would judge.

Of models whose shape is known it says more than the operator, which knows none: `sizing.doubts`.

Exit codes: 0 all can be accepted, 1 one cannot (or, with --strict, is doubtful), or a file cannot be read.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated

import typer
from rich.text import Text

from disagg_operator.api.admission.rule import Severity
from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Problem
from disagg_operator.cli import documents
from disagg_operator.cli.planning import judged, name_of
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.terminal import Format, UserError, errors, fail, show
from disagg_operator.plan import rules
from disagg_operator.plan.installation import Installation
from disagg_operator.sizing.doubts import SOURCES, doubts

_IMAGE = "disagg-worker:latest"
"""Stands for the installation's image, about which no rule asks."""


@dataclass(frozen=True)
class Entry:
    """One finding, for people and machines."""

    file: str
    resource: str
    severity: str
    field: str
    fault: str
    remedy: str
    rule: str
    source: str


def lint(
    files: Annotated[
        list[str], typer.Option("--file", "-f", help="YAML file with DisaggDeployments; - reads stdin.")
    ],
    *,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on what is doubtful, too.")] = False,
    profiles: ProfilesFolder = None,
    form: Annotated[Format, typer.Option("--output", "-o", help="How to print the findings.")] = Format.TEXT,
) -> None:
    """Say what is wrong or doubtful about DisaggDeployments without touching a cluster."""
    try:
        installation = Installation(worker_image=_IMAGE, catalogue=catalogue(profiles))
        judged = [(file, document) for file in files for document in documents.read(file)]
    except UserError as error:
        fail(error)
    found = [entry for file, document in judged for entry in _entries(file, document, installation)]
    if form is Format.JSON:
        typer.echo(json.dumps([asdict(entry) for entry in found], indent=2))
    else:
        _print(found, len(judged))
    if any(strict or entry.severity == Severity.REFUSE for entry in found):
        raise typer.Exit(1)


def _entries(file: str, document: dict[str, object], installation: Installation) -> list[Entry]:
    name = name_of(document)
    refused, warned = judged(document, installation)
    if not refused:
        spec = accept(document).spec
        warned = (*warned, *doubts(spec, installation.catalogue.machine(spec.platform)))
    return [
        Entry(
            file, name, severity, problem.field, problem.fault, problem.remedy, problem.rule, _source(problem)
        )
        for severity, problems in ((Severity.REFUSE, refused), (Severity.WARN, warned))
        for problem in problems
    ]


@cache
def _sources() -> Mapping[str, str]:
    """Return where each rule is from, by its id."""
    return {**SOURCES, **{rule.id: rule.source for rule in rules.every_rule()}}


def _source(problem: Problem) -> str:
    return _sources().get(problem.rule, "")


def _print(found: list[Entry], resources: int) -> None:
    if found:
        headings = ("Resource", "Severity", "Field", "What is wrong", "What to do", "Rule")
        show(headings, map(_cells, found))
    refused = sum(entry.severity == Severity.REFUSE for entry in found)
    summary = f"{resources} checked: {refused} faults, {len(found) - refused} warnings"
    errors().print(summary, markup=False, highlight=False)


def _cells(entry: Entry) -> tuple[str | Text, ...]:
    severity = Text(entry.severity, style="red" if entry.severity == Severity.REFUSE else "yellow")
    rule = f"{entry.rule}\n{entry.source}"
    return entry.resource, severity, entry.field, entry.fault, entry.remedy, rule
