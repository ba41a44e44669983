"""Prometheus metrics of the operator.

Invariant: no label holds the name of a deployment, so that the number of series does not grow with use; but
for the gauges that are a `PerDeployment`, a dozen series each: an alert has to name the deployment.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from disagg_operator.reconcile.kinds import Key
from disagg_operator.reconcile.reconciler import TransportShown

_TRUTH = {"True": 1, "False": 0, "Unknown": -1}
_COUNTS = {"wanted": "desiredReplicas", "ready": "readyReplicas"}
_RESULTS = ("done", "gone", "retry", "blocked", "error")
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_CANARY_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)


class PerDeployment(Collector):
    """A gauge of which each deployment has series, which go when it goes.

    Its samples are made when they are asked for: a thousand deployments have 15,000 of them.

    Args:
        name: name of the gauge.
        text: what it shows.
        labels: labels beside `namespace` and `deployment`.
        registry: where it is shown.
    """

    def __init__(self, name: str, text: str, labels: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._name, self._text, self._labels = name, text, ("namespace", "deployment", *labels)
        self._shown: dict[Key, Mapping[tuple[str, ...], float]] = {}
        registry.register(self)

    def show(self, key: Key, values: Mapping[tuple[str, ...], float]) -> None:
        """Show these values of a deployment, by their labels, in place of all that were shown before."""
        if values:
            self._shown[key] = values
        else:
            self._shown.pop(key, None)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Name the gauge, without samples."""
        yield GaugeMetricFamily(self._name, self._text, labels=self._labels)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Make the samples of all deployments."""
        (family,) = self.describe()
        for key, values in self._shown.items():
            for labels, value in values.items():
                family.add_metric((key.namespace, key.name, *labels), value)
        yield family


class Metrics:
    """All metrics of one operator process, in a registry of their own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        # Memory, CPU time and file descriptors, under the names that every Prometheus client gives them.
        ProcessCollector(registry=self.registry)
        self._transports = PerDeployment(
            "disagg_transport_verified",
            "Whether KV cache of a deployment moves as its platform promises: 1 yes, 0 no, -1 unknown.",
            ("transport", "reason"),
            self.registry,
        )
        self._conditions = PerDeployment(
            "disagg_deployment_condition",
            "Conditions in the status of a deployment: 1 true, 0 false, -1 unknown.",
            ("condition", "reason"),
            self.registry,
        )
        self._instances = PerDeployment(
            "disagg_deployment_instances",
            "Model instances of a role, or pods of the frontend: wanted, and ready.",
            ("role", "state"),
            self.registry,
        )
        self.reconciles = Counter(
            "disagg_reconciles",
            "Reconciles by result: done, gone, retry, blocked or error.",
            ["result"],
            registry=self.registry,
        )
        # The first error is an increase only where there was a zero before.
        for result in _RESULTS:
            self.reconciles.labels(result)
        self.reconcile_seconds = Histogram(
            "disagg_reconcile_seconds",
            "Duration of a reconcile in seconds.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.queue_depth = Gauge("disagg_queue_depth", "Deployments that wait.", registry=self.registry)
        self.queue_delayed = Gauge(
            "disagg_queue_delayed",
            "Deployments that are reconciled at a later time, be it for the resync.",
            registry=self.registry,
        )
        self.queue_failing = Gauge(
            "disagg_queue_failing",
            "Deployments whose last reconcile failed and is tried again.",
            registry=self.registry,
        )
        self.deployments_checked = Gauge(
            "disagg_deployments_checked",
            "Deployments that this process has reconciled since it leads.",
            registry=self.registry,
        )
        self.queue_seconds = Histogram(
            "disagg_queue_seconds",
            "Time that a deployment waited in seconds.",
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.api_requests = Counter(
            "disagg_api_requests",
            "Requests to the API server; code 0 means no answer.",
            ["verb", "kind", "code"],
            registry=self.registry,
        )
        self.watch_restarts = Counter(
            "disagg_watch_restarts",
            "Watches started anew, by reason: closed, expired, stalled, refused or error.",
            ["kind", "reason"],
            registry=self.registry,
        )
        self.leader = Gauge("disagg_leader", "1 while this process holds the Lease.", registry=self.registry)
        self.cached_objects = Gauge(
            "disagg_cached_objects",
            "Objects of deployments that are kept in memory.",
            ["kind"],
            registry=self.registry,
        )
        self.tasks = Gauge("disagg_tasks", "Tasks of the event loop.", registry=self.registry)
        self.loop_lag = Gauge(
            "disagg_loop_lag_seconds", "Lag of the event loop in seconds.", registry=self.registry
        )
        self.start_seconds = Gauge(
            "disagg_start_seconds",
            "Seconds from the start of the process to its first being ready.",
            registry=self.registry,
        )
        self.events = Counter(
            "disagg_events",
            "Events about deployments by reason, such as WorkerWedged and GroupRestarted.",
            ["reason"],
            registry=self.registry,
        )
        self.events_dropped = Counter(
            "disagg_events_dropped", "Events not posted for the rate limit.", registry=self.registry
        )

        self.kv_transport_verifications = Counter(
            "disagg_kv_transport_verifications",
            "Measurements of how KV cache moves, by whether it moves as promised and why.",
            ["verified", "reason"],
            registry=self.registry,
        )
        self.kv_transport_canary_seconds = Histogram(
            "disagg_kv_transport_canary_seconds",
            "Time from a canary to its answer in seconds.",
            buckets=_CANARY_BUCKETS,
            registry=self.registry,
        )
        self.kv_transport_canary_bytes = Counter(
            "disagg_kv_transport_canary_bytes",
            "Bytes of KV cache that canaries moved, by what carried them.",
            ["transport"],
            registry=self.registry,
        )

    def show_transport(self, key: Key, shown: TransportShown | None) -> None:
        """Show whether the transport of a deployment is verified, in place of what was shown before.

        Args:
            key: the deployment.
            shown: what is known, or None for one that is gone or not verified.
        """
        values: dict[tuple[str, ...], float]
        values = {} if shown is None else {(shown.transport, shown.reason): _TRUTH[shown.verified]}
        self._transports.show(key, values)

    def show_status(self, key: Key, status: Mapping[str, Any]) -> None:
        """Show the conditions and counts of a deployment's status; an empty one is of none, or a new one."""
        conditions: dict[tuple[str, ...], float] = {
            (condition["type"], condition["reason"]): _TRUTH[condition["status"]]
            for condition in status.get("conditions", [])
        }
        self._conditions.show(key, conditions)
        counts: dict[tuple[str, ...], float] = {
            (role, state): counted.get(field, 0)
            for role, counted in status.get("roles", {}).items()
            for state, field in _COUNTS.items()
        }
        self._instances.show(key, counts)

    def render(self, only: Sequence[str] = ()) -> bytes:
        """Return metrics in the text format of Prometheus.

        Args:
            only: names of those to return; none returns all.
        """
        return generate_latest(self.registry.restricted_registry(only) if only else self.registry)
