"""From a specification to a plan: the one entry of this folder.

Invariants: no clock, no network, no randomness; the same input gives the same plan. What cannot be planned is
refused with the field, the fault and the remedy.
"""

from dataclasses import replace

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.plan import names, rules
from disagg_operator.plan.basis import Basis, basis_of
from disagg_operator.plan.cluster import UNSEEN, ClusterFacts, KeptWorkers
from disagg_operator.plan.download import job_download
from disagg_operator.plan.environment import TemplateFailedError
from disagg_operator.plan.frontend import frontend_plan
from disagg_operator.plan.frontends.family import Workers
from disagg_operator.plan.inputs import inputs_of
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan, RoleReference
from disagg_operator.plan.network import network_plan
from disagg_operator.plan.roles import roles_plan
from disagg_operator.plan.rollout.limits import rollout_plan
from disagg_operator.plan.rules.subject import Subject
from disagg_operator.plan.scaling import scaler_plans, with_counts
from disagg_operator.plan.strategy import strategy_of
from disagg_operator.plan.verification import promised_transports, verification_plan


def plan(resource: DisaggDeployment, installation: Installation, cluster: ClusterFacts = UNSEEN) -> Plan:
    """Plan a deployment.

    Args:
        resource: an accepted DisaggDeployment.
        installation: settings of the operator's installation.
        cluster: what is known of the cluster.

    Raises:
        Refusal: the platform, version or engine configuration cannot be planned, or cannot work.
    """
    resource = with_counts(resource, cluster.counts)
    try:
        basis = basis_of(resource, installation, cluster)
        planned = _planned(basis, cluster.kept)
    except TemplateFailedError as error:
        remedy = "Write another platform, or have the profile mended"
        raise Refusal(
            [Problem("spec.platform", f"its profile: {error}", remedy, "platform-profile")]
        ) from None
    releases = installation.catalogue.runtimes[basis.runtime.name]
    judgement = rules.check(
        Subject(resource, planned, basis.platform, basis.runtime, releases, installation, cluster)
    )
    if judgement.refused:
        raise Refusal(judgement.refused)
    return replace(planned, warnings=judgement.warned)


def _planned(basis: Basis, kept: KeptWorkers | None) -> Plan:
    metadata, spec = basis.resource.metadata, basis.spec
    own_revision, roles = roles_plan(basis, kept)
    revision = own_revision if kept is None else kept.revision
    frontend = frontend_plan(basis, Workers(revision, roles))
    images = {pod.image for pod in (frontend.pod, *(role.pod for role in roles.values()))}
    promised = promised_transports(basis)
    strategy, why_strategy = strategy_of(spec.rollout, basis.runtime)
    return Plan(
        name=metadata.name,
        namespace=metadata.namespace,
        uid=metadata.uid,
        revision=revision,
        address=f"http://{names.frontend(metadata.name)}.{metadata.namespace}.svc:{spec.frontend.port}",
        discovery=basis.discovery,
        transfer=basis.transfer,
        strategy=strategy,
        strategy_provenance=why_strategy,
        rollout=rollout_plan(basis.resource),
        takeover_seconds=basis.runtime.takeover.seconds,
        service_account=basis.service_account,
        own_service_account=spec.service_account_name is None,
        discovery_role=RoleReference(
            basis.installation.discovery_role_kind, basis.installation.discovery_role_name
        ),
        roles=roles,
        frontend=frontend,
        network=network_plan(basis, roles, frontend),
        compute_domain=basis.compute_domain,
        download=job_download(basis),
        scalers=scaler_plans(basis.resource, roles),
        promised=promised,
        verification=verification_plan(basis, roles, promised),
        planned_for=inputs_of(basis, images),
        own_revision=own_revision,
        keeps_workers=revision != own_revision,
    )
