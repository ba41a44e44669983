"""``kubectl disagg render``: the manifests of a resource, offline, just as the operator applies them."""

import json
import shutil
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated, Any

import typer

from disagg_operator.build.objects import domain_objects, scaler_objects, shared_objects, worker_objects
from disagg_operator.cli import documents
from disagg_operator.cli.explaining import blocks, concerning
from disagg_operator.cli.planning import DEFAULT_WORKER_IMAGE, planned
from disagg_operator.cli.profiles import ProfilesFolder, catalogue
from disagg_operator.cli.terminal import Format, UserError, fail, printable, warn
from disagg_operator.plan.cluster import ClusterFacts, ExistingDomain
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan

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
    role: Annotated[
        Component | None,
        typer.Option(
            "--role", help="With --explain: only what concerns its pods. Default: all.", show_default=False
        ),
    ] = None,
    profiles: ProfilesFolder = None,
    form: Annotated[
        Format,
        typer.Option(
            "--output", "-o", help="text: YAML manifests, or with --explain a block for each reason."
        ),
    ] = Format.TEXT,
) -> None:
    """Print the Kubernetes manifests of a DisaggDeployment without touching a cluster."""
    if role and not explain:
        fail(UserError(f"--role {role} goes with --explain. Write both, or leave --role out"))
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
        _explain(plans, form, role or "")
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


def _explain(plans: list[Plan], form: Format, role: str) -> None:
    if form is Format.TEXT:
        for each in plans:
            _print_explained(each, role)
        return
    entries = [
        {"namespace": each.namespace, "deployment": each.name, **asdict(setting)}
        for each in plans
        for setting in concerning(explained(each), role)
    ]
    typer.echo(json.dumps(entries, indent=2))


def _print_explained(plan: Plan, role: str) -> None:
    width = min(shutil.get_terminal_size((_WIDEST, 0)).columns, _WIDEST)
    parts = [f"{plan.namespace}/{plan.name}", *blocks(concerning(explained(plan), role), width)]
    typer.echo(printable("\n\n".join(parts)))
