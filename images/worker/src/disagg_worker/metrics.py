"""The worker's Prometheus metrics; gauges and the engine's counters are read when scraped."""

from collections.abc import Callable, Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from disagg_worker.engine import Engine

READ_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
STEP_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class WorkerMetrics:
    """All metrics of one worker, in a registry of its own."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.kv_read_bytes = Counter(
            "disagg_kv_read_bytes",
            "KV bytes read from prefill workers, by NIXL backend and the transport that carried them.",
            ("backend", "transport"),
            registry=self.registry,
        )
        self.kv_mode_bytes = Counter(
            "disagg_kv_mode_bytes",
            "KV bytes read from prefill workers, through staging memory or block by block (direct).",
            ("mode",),
            registry=self.registry,
        )
        self.kv_read_seconds = Histogram(
            "disagg_kv_read_seconds", "Time of one KV read.", buckets=READ_BUCKETS, registry=self.registry
        )
        self.kv_reads = Counter(
            "disagg_kv_reads", "KV reads by how they ended.", ("outcome",), registry=self.registry
        )
        self.prompts_recomputed = Counter(
            "disagg_prompts_recomputed",
            "Prompts that decode computed itself, by why their KV could not be read.",
            ("outcome",),
            registry=self.registry,
        )
        self.prompts_local = Counter(
            "disagg_prompts_local",
            "Prompts that were left to decode, whose KV was not transferred: by prefill, which leaves it "
            "short ones, or by Dynamo's frontend.",
            ("left_by",),
            registry=self.registry,
        )
        self.kv_served_bytes = Counter(
            "disagg_kv_served_bytes",
            "KV bytes that decode workers confirmed to have read.",
            registry=self.registry,
        )
        self.kv_staging_slots = Gauge(
            "disagg_kv_staging_slots",
            "Slots of staging memory, in all and those that are in use.",
            ("state",),
            registry=self.registry,
        )
        self.requests = Counter(
            "disagg_requests",
            "Requests by role and how they ended.",
            ("role", "outcome"),
            registry=self.registry,
        )
        self.step_seconds = Histogram(
            "disagg_step_seconds", "Time of one engine step.", buckets=STEP_BUCKETS, registry=self.registry
        )

    def observe(self, engine: Engine) -> None:
        """Include an engine's counters, its pool and its steps."""
        engine.on_step = self.step_seconds.observe
        self.registry.register(EngineCollector(engine))

    def observe_staging(self, slots: int, used: Callable[[], int]) -> None:
        """Include staging memory: how many slots it has, and how many are in use."""
        self.kv_staging_slots.labels("all").set(slots)
        self.kv_staging_slots.labels("used").set_function(used)

    def serve(self, port: int) -> WSGIServer:
        """Answer /metrics on a port, from a thread of its own; shut the result down to end."""
        server, _ = start_http_server(port, registry=self.registry)
        return server


class EngineCollector(Collector):
    """Reads an engine's numbers at the moment of the scrape.

    Args:
        engine: A loaded engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics."""
        stats, counts = self._engine.stats(), self._engine.pool.counts()
        blocks = GaugeMetricFamily("disagg_kv_blocks", "KV blocks by state.", labels=["state"])
        for state, value in counts._asdict().items():
            blocks.add_metric([state], value)
        yield blocks
        yield GaugeMetricFamily(
            "disagg_kv_remembered_blocks",
            "KV blocks whose content later prompts may share, in use or free.",
            value=self._engine.pool.remembered_blocks,
        )
        for name, text, value in (
            ("disagg_prompt_tokens", "Prompt tokens computed here.", stats.prompt_tokens),
            (
                "disagg_prompt_tokens_reused",
                "Prompt tokens found in KV blocks.",
                stats.reused_tokens,
            ),
            ("disagg_generated_tokens", "Tokens given out.", stats.generated_tokens),
            ("disagg_preemptions", "Sequences computed again for want of blocks.", stats.preemptions),
        ):
            yield CounterMetricFamily(name, text, value=value)
        for name, text, value in (
            ("disagg_sequences_running", "Sequences that are computed now.", stats.running),
            ("disagg_sequences_waiting", "Sequences that wait for blocks or a place.", stats.waiting),
        ):
            yield GaugeMetricFamily(name, text, value=value)
