"""The pod that workers and frontend have in common: an image that takes part in a kind of frontend."""

from collections.abc import Mapping
from typing import Any

from disagg_operator.plan.basis import Basis
from disagg_operator.plan.discovery.gate import gate_plan
from disagg_operator.plan.frontends.family import SCRATCH, Wiring
from disagg_operator.plan.model import PodPlan, Provenance

GRACE_SECONDS = 30
"""Kubernetes' own default, for what a pod does at its end beside waiting for transfers."""


def wired_pod(
    basis: Basis, wiring: Wiring, image: tuple[str, Provenance], overrides: Mapping[str, Any] | None
) -> PodPlan:
    """Return a pod that takes part in a frontend's serving and has no more than that.

    Args:
        basis: what the deployment's pods have in common.
        wiring: how its container takes part.
        image: its image, and why it is that.
        overrides: the user's partial pod template.
    """
    runtime, placement = basis.spec.runtime, basis.spec.placement
    reference, why = image
    return PodPlan(
        image=reference,
        image_provenance=why,
        pull_policy=runtime.image_pull_policy,
        pull_secrets=tuple(secret.name for secret in runtime.image_pull_secrets),
        command=wiring.command,
        environment=wiring.environment,
        ports=(wiring.port,),
        startup=wiring.startup,
        liveness=wiring.liveness,
        readiness=wiring.readiness,
        mounts=SCRATCH,
        resources={},
        service_account=basis.service_account,
        node_selector=placement.node_selector,
        tolerations=tuple(placement.tolerations),
        grace_seconds=GRACE_SECONDS,
        overrides=overrides or {},
        gate=gate_plan(basis.discovery),
        prepare=wiring.prepare,
    )
