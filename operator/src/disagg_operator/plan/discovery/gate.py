"""The gate before frontend and workers: they start once the services that they register in answer."""

from disagg_operator.plan.model import DiscoveryPlan, GatePlan, Provenance
from disagg_operator.plan.programs.source import script

SECONDS = 120
"""As long as Dynamo itself waits for etcd and NATS before it gives up."""

_WHY = Provenance(
    "etcd and NATS must run before the engine starts, which loads a model first and fails then.",
    "Dynamo, KV Cache Transfer in Disaggregated Serving, 2025 (ETCD and NATS must run before the service)",
)


def gate_plan(discovery: DiscoveryPlan) -> GatePlan | None:
    """Return what a frontend or worker waits for, or None where it needs no service."""
    services = []
    if discovery.etcd_endpoints:
        services.append(f"etcd={','.join(discovery.etcd_endpoints)}")
    if discovery.nats_server is not None:
        services.append(f"NATS={discovery.nats_server}")
    if not services:
        return None
    # Reference and TensorRT-LLM images alike have python3 on their path, and not all have a shell.
    command = ("python3", "-c", script("await_services.py"), str(SECONDS), *services)
    return GatePlan(command, tuple(services), _WHY)
