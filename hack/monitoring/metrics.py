"""Which metrics there are: ours by asking the registries that serve them, Dynamo's from dynamo.yaml.

Invariant: nothing is listed that no registry has. dynamo.yaml is compared with a frontend that runs, by
tests/integration/worker/test_routing.py.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric as Family

from disagg_operator.runtime.metrics import Metrics
from disagg_operator.runtime.webhook.certificate import Certificate
from disagg_operator.runtime.webhook.server import certificate_metrics
from disagg_worker.agent import exposition
from disagg_worker.agent.evidence import Evidence, Nixl, NvLink
from disagg_worker.engine import Engine
from disagg_worker.engine.types import EngineStats
from disagg_worker.kv.pool import BlockCounts
from disagg_worker.metrics import EngineCollector, WorkerMetrics

DYNAMO = Path(__file__).with_name("dynamo.yaml")
UNITS = ("seconds", "bytes", "tokens", "blocks")
_OF_HISTOGRAMS = ("_bucket", "_sum", "_count")


@dataclass(frozen=True)
class Metric:
    """A metric.

    Args:
        name: As it is queried; of a histogram without `_bucket` and its like.
        kind: counter, gauge or histogram.
        labels: Labels of its own, beside those that the scrape adds.
        text: What it means.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    text: str

    @property
    def series(self) -> frozenset[str]:
        """Names of its series."""
        suffixes = _OF_HISTOGRAMS if self.kind == "histogram" else ("",)
        return frozenset(f"{self.name}{suffix}" for suffix in suffixes)

    @property
    def unit(self) -> str:
        """Its unit, which the name ends with by Prometheus' custom; empty for a mere count."""
        words = self.name.removesuffix("_total").split("_")
        return words[-1] if words[-1] in UNITS else ""


def operator() -> list[Metric]:
    """Return the operator's metrics."""
    return _of_registry(Metrics().registry)


def webhook() -> list[Metric]:
    """Return the webhook's metrics."""
    shown = cast("Certificate", SimpleNamespace(ends=datetime.fromtimestamp(0, UTC)))
    return _of_registry(certificate_metrics(shown))


def worker() -> list[Metric]:
    """Return the metrics of the reference engine's workers."""
    pool = SimpleNamespace(counts=lambda: BlockCounts(0, 0, 0), remembered_blocks=0)
    engine = SimpleNamespace(stats=lambda: EngineStats(0, 0, 0, 0, 0, 0), pool=pool)
    families = EngineCollector(cast("Engine", engine)).collect()
    return sorted([*_of_registry(WorkerMetrics().registry), *map(_of, families)], key=_by_name)


def agent() -> list[Metric]:
    """Return the metrics of the transport agent."""
    nothing = Evidence(
        time=0,
        uptime_seconds=0,
        pod="",
        namespace="",
        node="",
        devices=(),
        interfaces=(),
        processes=(),
        nvlink=NvLink(available=False),
        nixl=Nixl(available=False),
        engine=None,
        logs=(),
        model=None,
        device_files=(),
        unreadable=(),
    )
    return sorted(map(_of, exposition.metrics(nothing)), key=_by_name)


def dynamo() -> list[Metric]:
    """Return those metrics of Dynamo's frontend and its router that the dashboards show."""
    listed: list[dict[str, Any]] = yaml.safe_load(DYNAMO.read_text(encoding="utf-8"))
    return [Metric(each["name"], each["type"], tuple(each["labels"]), each["text"]) for each in listed]


def every() -> list[Metric]:
    """Return all metrics."""
    return [*operator(), *webhook(), *worker(), *agent(), *dynamo()]


def _of_registry(registry: CollectorRegistry) -> list[Metric]:
    # Of metrics without series yet, only the collectors know the labels.
    collectors: Iterable[Any] = registry._collector_to_names
    return sorted((metric for each in collectors for metric in _of_collector(each)), key=_by_name)


def _of_collector(collector: Any) -> Iterator[Metric]:
    names = getattr(collector, "_labelnames", None)
    for family in collector.collect():
        found = _of(family)
        yield found if names is None else Metric(found.name, found.kind, tuple(names), found.text)


def _of(family: Family) -> Metric:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    return Metric(name, family.type, tuple(getattr(family, "_labelnames", ())), family.documentation)


def _by_name(metric: Metric) -> str:
    return metric.name
