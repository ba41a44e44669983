"""The HTTP front door. It computes nothing and moves no KV cache, and belongs to no revision."""

from dataclasses import replace

from disagg_operator.api.v1alpha1.operations import VerificationMode
from disagg_operator.plan import dynamo, names
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.disruption import budget_plan
from disagg_operator.plan.drain import draining
from disagg_operator.plan.engines.models import hub_environment, model_mounts
from disagg_operator.plan.environment import layered, written
from disagg_operator.plan.hardware import frontend_placement
from disagg_operator.plan.image import image_of
from disagg_operator.plan.model import FrontendPlan
from disagg_operator.plan.pod import wired_pod
from disagg_operator.plan.resources import requirements


def frontend_plan(basis: Basis) -> FrontendPlan:
    """Plan the frontend of a deployment."""
    spec, model = basis.spec.frontend, basis.spec.model
    machine = basis.platform.machine
    wiring = dynamo.frontend(
        basis.runtime,
        basis.discovery,
        basis.dynamo_namespace,
        port=spec.port,
        router_mode=spec.router_mode,
        model=model.name,
    )
    # No fabric is a fact of it.
    of_fabrics = ("fabric", "fabrics", "kind")
    facts = {key: value for key, value in basis.facts.items() if key not in of_fabrics}
    image = image_of(basis, {**facts, "method": basis.transfer.method})
    reads_model = basis.runtime.frontend.model_files is not None
    resources, why_resources = requirements(
        spec.resources, machine.frontend_resources, "spec.frontend.resources"
    )
    labels, tolerations = frontend_placement(machine, facts)
    enforced = basis.spec.verification.mode is VerificationMode.ENFORCE
    pod = replace(
        wired_pod(basis, wiring, image, spec.pod_template),
        environment=layered(
            wiring.environment,
            hub_environment(model.source) if reads_model else (),
            written(spec.env, "spec.frontend.env"),
        ),
        mounts=(*dynamo.SCRATCH, *(model_mounts(model.source) if reads_model else ())),
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
    )
