"""``kubectl disagg lint``: what is wrong or doubtful about resources, offline, as the operator would judge.

Of models whose shape is known it says more than the operator, which knows none: `sizing.doubts`.

What a deployment overrides on purpose is shown as such, so that nobody forgets it.

Exit codes: 0 all can be accepted, 1 one cannot (or, with --strict, is doubtful), or a file cannot be read.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Annotated

import typer
from rich.text import Text

from disagg_operator.api.admission.rule import Severity
from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Problem
from disagg_operator.api.wording import counted
from disagg_operator.cli import documents
from disagg_operator.cli.judging import judged_whole
from disagg_operator.cli.planning import name_of, released_worker_image
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.terminal import Format, UserError, errors, fail, show
from disagg_operator.plan import rules
from disagg_operator.plan.installation import Installation
from disagg_operator.sizing.doubts import SOURCES, doubts

_ALLOWED = "allowed"
"""Severity of what ``spec.security.allowUnsafe`` lets pass."""
_STYLES: Mapping[str, str] = {Severity.REFUSE: "red", Severity.WARN: "yellow", _ALLOWED: "dim"}


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
        installation = Installation(worker_image=released_worker_image(), catalogue=catalogue(profiles))
        judged = [(file, document) for file in files for document in documents.read(file)]
    except UserError as error:
        fail(error)
    found = [entry for file, document in judged for entry in _entries(file, document, installation)]
    if form is Format.JSON:
        typer.echo(json.dumps([asdict(entry) for entry in found], indent=2))
    else:
        _print(found, len(judged))
    failing = {Severity.REFUSE, Severity.WARN} if strict else {Severity.REFUSE}
    if any(entry.severity in failing for entry in found):
        raise typer.Exit(1)


def _entries(file: str, document: dict[str, object], installation: Installation) -> list[Entry]:
    name = name_of(document)
    found = judged_whole(document, installation)
    warned = found.warned
    if not found.refused:
        spec = accept(document).spec
        warned = (*warned, *doubts(spec, installation.catalogue.asked(spec.platform, spec.platform_profile)))

    def entry(severity: str, problem: Problem, remedy: str) -> Entry:
        source = _sources().get(problem.rule, "")
        return Entry(file, name, severity, problem.field, problem.fault, remedy, problem.rule, source)

    return [
        *(entry(Severity.REFUSE, problem, problem.remedy) for problem in found.refused),
        *(entry(Severity.WARN, problem, problem.remedy) for problem in warned),
        *(entry(_ALLOWED, problem, _overridden(problem)) for problem in found.allowed),
    ]


@cache
def _sources() -> Mapping[str, str]:
    """Return where each rule is from, by its id."""
    return {**SOURCES, **{rule.id: rule.source for rule in rules.every_rule()}}


def _overridden(problem: Problem) -> str:
    return f"Nothing: spec.security.allowUnsafe names {problem.rule}. Take it out once it is not needed"


def _print(found: list[Entry], resources: int) -> None:
    if found:
        headings = ("Resource", "Severity", "Field", "What is wrong", "What to do", "Rule")
        show(headings, map(_cells, found))
    counts = Counter(entry.severity for entry in found)
    summary = (
        f"{resources} checked: {counted(counts[Severity.REFUSE], 'fault')}, "
        f"{counted(counts[Severity.WARN], 'warning')}"
    )
    if counts[_ALLOWED]:
        summary += f", {counts[_ALLOWED]} allowed although unsafe"
    errors().print(summary, markup=False, highlight=False)


def _cells(entry: Entry) -> tuple[str | Text, ...]:
    severity = Text(entry.severity, style=_STYLES[entry.severity])
    rule = f"{entry.rule}\n{entry.source}"
    return entry.resource, severity, entry.field, entry.fault, entry.remedy, rule
