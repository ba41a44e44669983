"""Rules about KVBM, Dynamo's KV block manager on prefill workers."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.api.v1alpha1.variables import KVBM_BACKEND
from disagg_operator.plan.model import PREFILL
from disagg_operator.plan.rules.subject import Subject, written_at

_PARSER = "https://github.com/ai-dynamo/dynamo/blob/main/lib/memory/src/nixl/config.rs"
_GUIDE = "https://github.com/ai-dynamo/dynamo/blob/main/docs/components/kvbm/kvbm-guide.md"


def _services(subject: Subject) -> Iterator[Finding]:
    if subject.spec.transfer.kvbm is not None and not subject.plan.discovery.etcd_endpoints:
        fault = "KVBM's guide asks for etcd and NATS, and this deployment has none"
        remedy = "Write discovery.etcd, or watch that prefill workers start"
        yield Finding("spec.transfer.kvbm", fault, remedy)


def _tiers(subject: Subject) -> Iterator[Finding]:
    kvbm = subject.spec.transfer.kvbm
    if kvbm is None:
        return
    if kvbm.cpu_cache_gb is None and kvbm.disk_cache_gb is None:
        fault = "KVBM has no tier to keep blocks in"
        yield Finding("spec.transfer.kvbm", fault, "Write cpuCacheGb, diskCacheGb or both")
    elif kvbm.cpu_cache_gb and kvbm.disk_cache_gb and kvbm.disk_cache_gb < kvbm.cpu_cache_gb:
        fault = "the tier on disk is smaller than the one in host memory, so it gains nothing"
        yield Finding("spec.transfer.kvbm.diskCacheGb", fault, f"Write at least {kvbm.cpu_cache_gb}")


def _underscore(subject: Subject) -> Iterator[Finding]:
    prefill = subject.plan.roles[PREFILL]
    for setting in prefill.pod.environment:
        backend = setting.name.removeprefix(KVBM_BACKEND)
        if backend != setting.name and "_" in backend:
            fault = (
                f"some releases of Dynamo take {setting.name} for a parameter of a backend, and do not start"
            )
            remedy = "Watch that prefill workers start, or use a backend without an underscore, such as GDS"
            by_field = (
                subject.spec.transfer.kvbm is not None and backend in subject.spec.transfer.kvbm.nixl_backends
            )
            field = "spec.transfer.kvbm.nixlBackends" if by_field else written_at(prefill, setting)
            yield Finding(field, fault, remedy)


RULES: tuple[Rule[Subject], ...] = (
    Rule("kvbm-services", _GUIDE, _services, severity=Severity.WARN),
    Rule("kvbm-tiers", _GUIDE, _tiers, severity=Severity.WARN),
    Rule("kvbm-plugin-name", _PARSER, _underscore, severity=Severity.WARN),
)
