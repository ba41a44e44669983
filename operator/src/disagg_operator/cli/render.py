"""``kubectl disagg render``: the manifests of a resource, offline, just as the operator applies them."""

from typing import Annotated, Any

import typer
from rich.table import Table

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import domain_objects, shared_objects, worker_objects
from disagg_operator.cli import documents
from disagg_operator.cli.terminal import UserError, fail, output, warn
from disagg_operator.plan.cluster import ClusterFacts, ExistingDomain
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import EnvSetting, Plan
from disagg_operator.plan.planner import plan

DEFAULT_WORKER_IMAGE = "disagg-worker:latest"


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
        bool, typer.Option("--explain", help="Show why each environment variable is set, not manifests.")
    ] = False,
) -> None:
    """Print the Kubernetes manifests of a DisaggDeployment without touching a cluster."""
    try:
        adopted = ExistingDomain(channel_template, 0) if channel_template else None
        cluster = ClusterFacts(num_nodes_required, adopted)
        plans = [
            _planned(document, namespace, Installation(worker_image=worker_image), cluster, file)
            for document in documents.read(file)
        ]
    except UserError as error:
        fail(error)
    for each in plans:
        for warning in each.warnings:
            warn(f"{file}: {each.name}: {warning}")
        if explain:
            output().print(_explained(each))
        else:
            typer.echo(
                documents.write([*shared_objects(each), *domain_objects(each), *worker_objects(each)]),
                nl=False,
            )


def _planned(
    document: dict[str, Any], namespace: str, installation: Installation, cluster: ClusterFacts, file: str
) -> Plan:
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        document = {**document, "metadata": {"namespace": namespace, **metadata}}
    try:
        return plan(accept(document), installation, cluster)
    except Refusal as refusal:
        name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
        faults = "\n".join(f"  {problem}" for problem in refusal.problems)
        raise UserError(f"{file}: DisaggDeployment {name} cannot be accepted:\n{faults}") from None


def _explained(planned: Plan) -> Table:
    table = Table(title=f"{planned.namespace}/{planned.name}", title_justify="left", show_lines=False)
    for heading in ("Component", "Variable", "Value", "Why", "Source"):
        table.add_column(heading, overflow="fold")
    components = {role.role: role.pod for role in planned.roles.values()} | {"frontend": planned.frontend.pod}
    for component, pod in components.items():
        for setting in pod.environment:
            table.add_row(
                component, setting.name, _value(setting), setting.provenance.reason, setting.provenance.source
            )
    return table


def _value(setting: EnvSetting) -> str:
    if setting.value_from is None:
        return setting.value or ""
    ((kind, reference),) = setting.value_from.items()
    return f"{kind} {reference.get('fieldPath') or reference.get('name', '')}".strip()
