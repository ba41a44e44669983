"""``kubectl disagg render``: the manifests of a resource, offline, just as the operator applies them."""

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from disagg_operator.build.objects import domain_objects, scaler_objects, shared_objects, worker_objects
from disagg_operator.cli import documents, provenance
from disagg_operator.cli.planning import DEFAULT_WORKER_IMAGE, planned
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.terminal import Format, UserError, fail, show, warn
from disagg_operator.plan.cluster import ClusterFacts, ExistingDomain
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan


def render(
    file: Annotated[
        str, typer.Option("--file", "-f", help="YAML file with DisaggDeployments; - reads stdin.")
    ],
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="Namespace of resources that name none.")
    ] = "default",
    worker_image: Annotated[
        str, typer.Option(help="Image of the reference engine where the resource names none.")
    ] = DEFAULT_WORKER_IMAGE,
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
    profiles: ProfilesFolder = None,
    form: Annotated[
        Format, typer.Option("--output", "-o", help="text: YAML manifests, or a table with --explain.")
    ] = Format.TEXT,
) -> None:
    """Print the Kubernetes manifests of a DisaggDeployment without touching a cluster."""
    try:
        adopted = ExistingDomain(channel_template, 0) if channel_template else None
        cluster = ClusterFacts(num_nodes_required, adopted)
        installation = Installation(worker_image=worker_image, catalogue=catalogue(profiles))
        plans = [
            planned(document, namespace, installation, cluster, file) for document in documents.read(file)
        ]
    except UserError as error:
        fail(error)
    for each in plans:
        for warning in each.warnings:
            warn(f"{file}: {each.name}: {warning}")
    if explain:
        _explain(plans, form)
    else:
        _print([manifest for each in plans for manifest in manifests(each)], form)


def manifests(plan: Plan) -> list[dict[str, Any]]:
    """Return all objects of a plan, in the order in which they are applied."""
    parts = (shared_objects, domain_objects, worker_objects, scaler_objects)
    return [obj for part in parts for obj in part(plan)]


def _print(manifests: list[dict[str, Any]], form: Format) -> None:
    if form is Format.JSON:
        typer.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}, indent=2))
    else:
        typer.echo(documents.write(manifests), nl=False)


def _explain(plans: list[Plan], form: Format) -> None:
    if form is Format.TEXT:
        for each in plans:
            _print_explained(each)
        return
    entries = [
        {"namespace": each.namespace, "deployment": each.name, **asdict(setting)}
        for each in plans
        for setting in explained(each)
    ]
    typer.echo(json.dumps(entries, indent=2))


def _print_explained(plan: Plan) -> None:
    rows = [
        (", ".join(setting.components), setting.kind, setting.name, setting.value, *provenance.cells(setting))
        for setting in explained(plan)
    ]
    headings = ("Component", "Kind", "Name", "Value", *provenance.HEADINGS)
    show(headings, rows, title=f"{plan.namespace}/{plan.name}")
