"""Rules about KVBM, Dynamo's KV block manager on prefill workers."""

from collections.abc import Iterator

from disagg_operator.api.admission.rule import Finding, Rule, Severity
from disagg_operator.plan.rules.subject import Subject

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


RULES: tuple[Rule[Subject], ...] = (
    Rule("kvbm-services", _GUIDE, _services, severity=Severity.WARN),
    Rule("kvbm-tiers", _GUIDE, _tiers, severity=Severity.WARN),
)
