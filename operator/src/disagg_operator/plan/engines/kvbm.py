"""Dynamo's KV block manager (KVBM) on prefill workers: its variables and the words that they take."""

from collections.abc import Iterator

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.api.v1alpha1.role import KvbmSpec
from disagg_operator.api.v1alpha1.variables import KVBM_BACKEND, KVBM_NO, KVBM_YES
from disagg_operator.plan.engines.engine import Asked
from disagg_operator.plan.model import EnvSetting, Provenance
from disagg_operator.platforms.profile import EngineRelease
from disagg_operator.platforms.vocabulary import ON

_FIELD = "spec.transfer.kvbm"
_KV_DOC = (
    "https://docs.nvidia.com/dynamo/v1.0.0/additional-resources/tensor-rt-llm-details/kv-cache-transfer.md"
)
_GUIDE = "https://github.com/ai-dynamo/dynamo/blob/main/docs/components/kvbm/kvbm-guide.md"


def kvbm_arguments(asked: Asked) -> tuple[str, ...]:
    """Return the words that a worker's command gets for KVBM.

    Raises:
        Refusal: the engine's release cannot use it.
    """
    if asked.facts["kvbm"] != ON:
        return ()
    return _supported(asked.release)


def kvbm_environment(asked: Asked) -> tuple[EnvSetting, ...]:
    """Return the variables of KVBM."""
    kvbm = asked.resource.spec.transfer.kvbm
    return () if kvbm is None or asked.facts["kvbm"] != ON else tuple(_variables(kvbm))


def _supported(release: EngineRelease) -> tuple[str, ...]:
    if release.kvbm is None:
        fault = f"KVBM has no connector for this release of the engine, {release.version}"
        raise Refusal(
            [
                Problem(
                    _FIELD,
                    fault,
                    "Leave it out, or write another runtime.version or engine",
                    "kvbm-in-release",
                )
            ]
        )
    return release.kvbm.arguments


def _variables(kvbm: KvbmSpec) -> Iterator[EnvSetting]:
    tiers = {"DYN_KVBM_CPU_CACHE_GB": kvbm.cpu_cache_gb, "DYN_KVBM_DISK_CACHE_GB": kvbm.disk_cache_gb}
    for name, size in tiers.items():
        if size is not None:
            yield EnvSetting(name, str(size), None, Provenance("Size of a tier of KVBM in GB.", _GUIDE))
    for plugin, enabled in kvbm.nixl_backends.items():
        verb = "enabled" if enabled else "disabled"
        reason = Provenance(f"NIXL plugin that is {verb} between the tiers of KVBM.", _KV_DOC)
        yield EnvSetting(f"{KVBM_BACKEND}{plugin}", KVBM_YES[0] if enabled else KVBM_NO[0], None, reason)
