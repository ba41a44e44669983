"""The transport agent beside each worker: it shows what moves KV cache, and changes nothing.

Invariant: whatever becomes of it, its worker serves. It has no probe, it is started anew inside its
container, and it is no part of the revision but for being there: an operator that brings another agent
restarts nobody.
"""

from collections.abc import Iterator, Mapping

from disagg_operator.api.v1alpha1.runtime import Engine
from disagg_operator.plan.basis import Basis
from disagg_operator.plan.engines.models import model_path
from disagg_operator.plan.engines.reference import METRICS_PORT
from disagg_operator.plan.facts import Facts, applicable, provenance
from disagg_operator.plan.model import AgentPlan, EnvSetting, Mount, Port, Provenance, SecurityPlan
from disagg_operator.plan.programs.source import script

PORT = Port("agent", 9095)
_AGAIN_SECONDS = 10
_NODE_SYS = "/node/sys"
_WHY = Provenance(
    "Shows what moves KV cache: device counters, loaded libraries, log files of the engine. Its image is the "
    "chart's worker.image, whatever the engine's.",
    "spec.verification.mode",
)


def agent_plan(basis: Basis, facts: Facts, engine_security: SecurityPlan) -> AgentPlan | None:
    """Return the agent beside the workers of a role, or None where nothing is verified.

    Args:
        basis: what the deployment's pods have in common.
        facts: facts of the role.
        engine_security: how much privilege the engine has: what it may hide, the agent must be let see.
    """
    if not basis.measured:
        return None
    sights = _sights(basis, facts)
    command = ("python3", "-c", script("keep_running.py"), str(_AGAIN_SECONDS), "disagg-worker", "agent")
    return AgentPlan(
        image=basis.installation.worker_image,
        command=command,
        port=PORT,
        environment=(*_environment(basis), *_sight_variables(sights)),
        mounts=_sight_mounts(sights),
        user=basis.platform.release.user if engine_security.own_user else None,
        inspects=engine_security.mode != "Restricted",
        unconfined=engine_security.mode == "Privileged",
        provenance=_WHY,
    )


def _environment(basis: Basis) -> tuple[EnvSetting, ...]:
    reference = basis.spec.runtime.engine is Engine.REFERENCE
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "NODE_NAME": "spec.nodeName",
    }
    values = {
        "DISAGG_AGENT_PORT": str(PORT.number),
        "DISAGG_ENGINE_METRICS": f"http://127.0.0.1:{METRICS_PORT.number}/metrics" if reference else "",
        "DISAGG_MODEL": model_path(basis.spec.model.source),
    }
    return (
        *(EnvSetting(name, None, {"fieldRef": {"fieldPath": path}}, _WHY) for name, path in fields.items()),
        *(EnvSetting(name, value, None, _WHY) for name, value in values.items() if value),
    )


def _sights(basis: Basis, facts: Facts) -> dict[str, Provenance]:
    """Return what the fabrics' byte counters need, with the reason."""
    return {
        each.value: provenance(each)
        for fabric in basis.platform.fabrics
        for each in applicable(fabric.counters, facts)
    }


def _sight_variables(sights: Mapping[str, Provenance]) -> Iterator[EnvSetting]:
    if (why := sights.get("node-sys")) is not None:
        yield EnvSetting("DISAGG_AGENT_SYS_ROOT", _NODE_SYS, None, why)
    if (why := sights.get("gpus")) is not None:
        yield EnvSetting("NVIDIA_VISIBLE_DEVICES", "all", None, why)
        yield EnvSetting("NVIDIA_DRIVER_CAPABILITIES", "utility", None, why)


def _sight_mounts(sights: Mapping[str, Provenance]) -> tuple[Mount, ...]:
    why = sights.get("node-sys")
    if why is None:
        return ()
    volume = {"hostPath": {"path": "/sys", "type": "Directory"}}
    return (Mount("node-sys", _NODE_SYS, volume, read_only=True, provenance=why),)
