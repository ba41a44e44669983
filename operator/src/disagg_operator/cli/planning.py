"""Plans resources of files, and says what is wrong with those that cannot be planned."""

from collections.abc import Mapping
from importlib import metadata
from typing import Annotated, Any

import typer

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.wording import readable
from disagg_operator.cli.judging import judged_whole
from disagg_operator.cli.terminal import UserError
from disagg_operator.plan.cluster import ClusterFacts
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan

_WORKER = "disagg-worker"
"""Name of the worker's image in a release."""
WorkerImageOption = Annotated[
    str,
    typer.Option(
        "--worker-image",
        help="worker.image of the operator's chart, of the reference engine, mocker and transport agent. "
        f"Default: the release's, {_WORKER}:VERSION, of no registry.",
        show_default=False,
    ),
]
_LONGEST_NAME = 80
"""Characters of a name that is too long anyway."""


def released_worker_image() -> str:
    """Return the worker's image of this release, as ``make images`` calls it; a registry goes before it."""
    return f"{_WORKER}:{metadata.version('disagg-operator')}"


def name_of(document: Mapping[str, Any]) -> str:
    """Return the name of a resource for people, whatever is written there."""
    header = document.get("metadata")
    name = header.get("name", "?") if isinstance(header, dict) else "?"
    return readable(str(name), _LONGEST_NAME)


def judged(
    document: Mapping[str, Any], installation: Installation
) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """Return why the operator does not accept a resource, and what is doubtful about one that it does."""
    try:
        return (), plan(accept(document), installation).warnings
    except Refusal as refusal:
        return refusal.problems, ()


def planned(
    document: dict[str, Any], namespace: str, installation: Installation, cluster: ClusterFacts, file: str
) -> Plan:
    """Return the plan of a resource.

    Args:
        document: the resource.
        namespace: its namespace, where it names none.
        installation: settings of the operator's installation.
        cluster: what is known of the cluster.
        file: where it was read from, for people.

    Raises:
        UserError: it cannot be accepted.
    """
    header = document.get("metadata")
    if isinstance(header, dict):
        document = {**document, "metadata": {"namespace": namespace, **header}}
    try:
        return plan(accept(document), installation, cluster)
    except Refusal as refusal:
        name = name_of(document)
        known = judged_whole(document, installation).refused
        found = dict.fromkeys((*refusal.problems, *known))
        faults = "\n".join(f"  {problem}" for problem in sorted(found))
        raise UserError(f"{file}: DisaggDeployment {name} cannot be accepted:\n{faults}") from None
