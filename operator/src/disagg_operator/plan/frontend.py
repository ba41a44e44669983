"""The HTTP front door. It computes nothing and moves no KV cache, and belongs to no revision."""

from dataclasses import replace

from disagg_operator.api.v1alpha1.discovery import DiscoveryBackend
from disagg_operator.api.v1alpha1.operations import VerificationMode
from disagg_operator.plan import names
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.disruption import budget_plan
from disagg_operator.plan.download import node_download
from disagg_operator.plan.drain import draining
from disagg_operator.plan.engines.engine import CONFIG_FOLDER
from disagg_operator.plan.engines.models import hub_environment, model_mounts
from disagg_operator.plan.environment import layered, written
from disagg_operator.plan.frontends.family import SCRATCH, Workers
from disagg_operator.plan.frontends.registry import FAMILIES
from disagg_operator.plan.hardware import frontend_placement
from disagg_operator.plan.image import image_of
from disagg_operator.plan.model import FrontendPlan
from disagg_operator.plan.pod import wired_pod
from disagg_operator.plan.resources import requirements


def frontend_plan(basis: Basis, workers: Workers) -> FrontendPlan:
    """Plan the frontend of a deployment.

    Args:
        basis: what the deployment's pods have in common.
        workers: those that it is to send requests to.
    """
    spec, model = basis.spec.frontend, basis.spec.model
    machine = basis.platform.machine
    family = FAMILIES[basis.spec.runtime.frontend]
    wiring = family.front_door(basis, workers)
    scope = names.revision_scope(basis.dynamo_namespace, workers.revision)
    # No fabric is a fact of it.
    of_fabrics = ("fabric", "fabrics", "kind")
    facts = {key: value for key, value in basis.facts.items() if key not in of_fabrics}
    image = image_of(basis, {**facts, "method": basis.transfer.method})
    resources, why_resources = requirements(
        spec.resources,
        basis.runtime.frontend.resources or machine.frontend_resources,
        "spec.frontend.resources",
    )
    labels, tolerations = frontend_placement(machine, facts)
    enforced = basis.spec.verification.mode is VerificationMode.ENFORCE
    pod = replace(
        wired_pod(basis, wiring, image, spec.pod_template),
        environment=layered(
            wiring.environment,
            hub_environment(model.source) if wiring.reads_model else (),
            written(spec.env, "spec.frontend.env"),
        ),
        mounts=(
            *SCRATCH,
            *wiring.mounts,
            *(model_mounts(model.source) if wiring.reads_model else ()),
        ),
        download=node_download(basis) if wiring.reads_model else None,
        resources=resources,
        resources_provenance=why_resources,
        node_labels=labels,
        derived_tolerations=tolerations,
        readiness_gate=names.CONDITION_TRANSPORT_VERIFIED if enforced else None,
    )
    return FrontendPlan(
        replicas=spec.replicas,
        port=spec.port,
        pod=draining(pod, basis, basis.runtime.frontend, spec.port, facts),
        budget=budget_plan(basis.drain, spec.replicas),
        reach=workers.revision if scope in wiring.command else "",
        files=wiring.files,
        settings=wiring.settings,
        files_path=CONFIG_FOLDER if wiring.files else "",
        listed=basis.discovery.backend == DiscoveryBackend.STATIC,
        worker_labels=family.worker_labels,
        request_key=names.request_key(basis.name) if family.has_key(basis) else None,
    )
