"""``kubectl disagg render``: the manifests of a resource, offline, just as the operator applies them."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from disagg_operator.api.parse import accept
from disagg_operator.build.objects import domain_objects, scaler_objects, shared_objects, worker_objects
from disagg_operator.cli import documents
from disagg_operator.cli.excerpts import of_component, shortened
from disagg_operator.cli.explaining import blocks, concerning
from disagg_operator.cli.needs import tables
from disagg_operator.cli.needs.document import needed
from disagg_operator.cli.planning import WorkerImageOption, planned, released_worker_image
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.terminal import Form, UserError, fail, printable, show, warn
from disagg_operator.plan.cluster import ClusterFacts, ExistingDomain
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.platforms.catalogue import Catalogue

_ASSUMED = """\
# {} stands for worker.image of the operator's chart. With --worker-image it is the
# operator's, and so is the revision in the names of what workers consist of."""
_SHORT = "# Without programs, to be read: leave out --short to apply it."
_LINES = "Lines such as fabrics/efa.yaml:10 are of files in {} (in a checkout operator/src/{})."
_WIDEST = 110
"""Columns of a reason: longer lines are hard to read."""


class Component(StrEnum):
    """What `--role` takes."""

    DEPLOYMENT = "deployment"
    PREFILL = "prefill"
    DECODE = "decode"
    FRONTEND = "frontend"


def render(
    file: Annotated[
        str, typer.Option("--file", "-f", help="YAML file with DisaggDeployments; - reads stdin.")
    ],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of resources that name none.")
    ] = "default",
    worker_image: WorkerImageOption = "",
    channel_template: Annotated[
        str,
        typer.Option(
            help="Claim template of the ComputeDomain in spec.computeDomain.name. Default: NAME-channel.",
            show_default=False,
        ),
    ] = "",
    *,
    num_nodes_required: Annotated[
        bool,
        typer.Option(
            "--num-nodes-required",
            help="For clusters whose ComputeDomains must say how many nodes they have (DRA driver 25.3).",
        ),
    ] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show why each derived setting is there, not manifests.")
    ] = False,
    needs: Annotated[
        bool,
        typer.Option("--needs", help="Show what the cluster must have before it is applied, not manifests."),
    ] = False,
    role: Annotated[
        Component | None,
        typer.Option(
            "--role",
            help="Only the objects of this role (deployment: those of no role alone); with --explain, only "
            "what concerns its pods. Default: all.",
            show_default=False,
        ),
    ] = None,
    short: Annotated[
        bool,
        typer.Option("--short", help="Write how many lines a program has, in place of its text."),
    ] = False,
    profiles: ProfilesFolder = None,
    form: Annotated[
        Form,
        typer.Option(
            "--output",
            "-o",
            help="text: YAML manifests; with --explain a block for each reason, with --needs tables.",
        ),
    ] = Form.TEXT,
) -> None:
    """Print the Kubernetes manifests of a DisaggDeployment without touching a cluster."""
    if needs and role:
        fail(UserError("--needs is about all roles. Leave --role out, or --needs"))
    if short and (explain or needs):
        fail(UserError("--short is about manifests. Leave it out, or --explain and --needs"))
    if explain and needs:
        fail(UserError("--explain and --needs show different things. Write one of them"))
    try:
        adopted = ExistingDomain(channel_template, 0) if channel_template else None
        cluster = ClusterFacts(num_nodes_required, adopted)
        installation = Installation(
            worker_image=worker_image or released_worker_image(), catalogue=catalogue(profiles)
        )
        resources = documents.read(file)
        plans = [planned(document, namespace, installation, cluster, file) for document in resources]
    except UserError as error:
        fail(error)
    for each in plans:
        for warning in each.warnings:
            warn(f"{file}: {each.name}: {warning}")
    if explain:
        _explain(plans, form, role or "")
    elif needs:
        _show_needs(zip(resources, plans, strict=True), installation.catalogue, form)
    else:
        found = [manifest for each in plans for manifest in manifests(each)]
        chosen = of_component(found, role) if role else found
        if short:
            chosen = [shortened(each) for each in chosen]
        _print(chosen, form, assumed=not worker_image, short=short)


def manifests(plan: Plan) -> list[dict[str, Any]]:
    """Return all objects of a plan, in the order in which they are applied."""
    parts = (shared_objects, domain_objects, worker_objects, scaler_objects)
    return [obj for part in parts for obj in part(plan)]


def _show_needs(planned_of: Iterable[tuple[dict[str, Any], Plan]], known: Catalogue, form: Form) -> None:
    found = []
    for resource, plan in planned_of:
        spec = accept(resource).spec
        machine = known.asked(spec.platform, spec.platform_profile)
        found.append(needed(plan, manifests(plan), machine, known.fabrics_of(machine)))
    if documents.told(found, form):
        return
    for document in found:
        typer.echo(f"{document['namespace']}/{document['name']}: {tables.summary(document)}")
        for headings, rows in (
            tables.pod_table(document),
            tables.namespace_table(document),
            tables.component_table(document),
        ):
            typer.echo()
            show(headings, rows)
        parts = ["\n".join(tables.commands(document)), tables.not_in_a_plan(document)]
        typer.echo(printable("".join(f"\n{part}\n" for part in parts if part)), nl=False)


def _print(manifests: list[dict[str, Any]], form: Form, *, assumed: bool, short: bool) -> None:
    if form is Form.JSON:
        typer.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=2))
        return
    written = documents.write(manifests)
    if short:
        typer.echo(_SHORT)
    if assumed and released_worker_image() in written:
        typer.echo(_ASSUMED.format(released_worker_image()))
    typer.echo(written, nl=False)


def _explain(plans: list[Plan], form: Form, role: str) -> None:
    if form is Form.TEXT:
        for each in plans:
            _print_explained(each, role)
        typer.echo("\n" + _LINES.format(*["disagg_operator/platforms"] * 2))
        return
    entries = [
        {"namespace": each.namespace, "deployment": each.name, **asdict(setting)}
        for each in plans
        for setting in concerning(explained(each), role)
    ]
    documents.told(entries, form)


def _print_explained(plan: Plan, role: str) -> None:
    width = min(shutil.get_terminal_size((_WIDEST, 0)).columns, _WIDEST)
    parts = [f"{plan.namespace}/{plan.name}", *blocks(concerning(explained(plan), role), width)]
    typer.echo(printable("\n\n".join(parts)))
