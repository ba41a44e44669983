"""The evidence as Prometheus metrics, computed when they are scraped."""

from collections.abc import Callable, Iterator
from pathlib import PurePath

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from disagg_worker.agent.evidence import Evidence

PREFIX = "disagg_kv_transport"
DIRECTIONS = (("tx", "tx_bytes"), ("rx", "rx_bytes"))
# Counters that mean trouble when they grow. EFA: kernel, efa_verbs.c and AWS's "EFA driver metrics";
# InfiniBand and RoCE: kernel, Documentation/infiniband/… and NVIDIA's "Understanding mlx5 counters".
ERROR_COUNTERS = (
    "rx_drops",
    "rdma_read_wr_err",
    "rdma_write_wr_err",
    "retrans_timeout_events",
    "unresponsive_remote_events",
    "impaired_remote_conn_events",
    "port_rcv_errors",
    "port_xmit_discards",
    "symbol_error",
    "link_downed",
    "packet_seq_err",
    "out_of_sequence",
    "local_ack_timeout_err",
    "rnr_nak_retry_err",
)


def registry_of(collect: Callable[[], Evidence]) -> CollectorRegistry:
    """Make a registry that reads the evidence at each scrape."""
    registry = CollectorRegistry()
    registry.register(EvidenceCollector(collect))
    return registry


class EvidenceCollector(Collector):
    """Translates evidence into metrics.

    Args:
        collect: Reads the evidence.
    """

    def __init__(self, collect: Callable[[], Evidence]) -> None:
        self._collect = collect

    def describe(self) -> list[Metric]:
        """Nothing is read when the collector is registered."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of one reading."""
        return metrics(self._collect())


def metrics(evidence: Evidence) -> Iterator[Metric]:
    """Translate one reading."""
    moved = _counter("device_bytes", "Bytes of RDMA devices.", "device", "direction")
    faults = _counter("device_errors", "Counters of RDMA devices that mean trouble.", "device", "counter")
    for device in evidence.devices:
        for direction, counter in DIRECTIONS:
            if counter in device.counters:
                moved.add_metric([_port(device.name, device.port), direction], device.counters[counter])
        for counter in ERROR_COUNTERS:
            if counter in device.counters:
                faults.add_metric([_port(device.name, device.port), counter], device.counters[counter])
    interfaces = _counter("interface_bytes", "Bytes of network interfaces.", "interface", "direction")
    for interface in evidence.interfaces:
        interfaces.add_metric([interface.name, "tx"], interface.tx_bytes)
        interfaces.add_metric([interface.name, "rx"], interface.rx_bytes)
    nvlink = _counter("nvlink_bytes", "Data bytes of NVLink.", "gpu", "link", "direction")
    for link in evidence.nvlink.links:
        nvlink.add_metric([str(link.gpu), str(link.link), "tx"], link.tx_bytes)
        nvlink.add_metric([str(link.gpu), str(link.link), "rx"], link.rx_bytes)
    nixl = _counter("nixl_bytes", "Bytes that NIXL counts.", "direction")
    if evidence.nixl.available:
        nixl.add_metric(["tx"], evidence.nixl.tx_bytes)
        nixl.add_metric(["rx"], evidence.nixl.rx_bytes)
    loaded = GaugeMetricFamily(
        f"{PREFIX}_library_loaded", "Processes that have mapped a library.", labels=("kind", "name")
    )
    libraries: dict[tuple[str, str], int] = {}
    for process in evidence.processes:
        for kind, name in {(library.kind, PurePath(library.path).name) for library in process.libraries}:
            libraries[kind, name] = libraries.get((kind, name), 0) + 1
    for labels, count in sorted(libraries.items()):
        loaded.add_metric(labels, count)
    unreadable = GaugeMetricFamily(
        f"{PREFIX}_unreadable", "Things that the agent could not read.", value=len(evidence.unreadable)
    )
    yield from (moved, faults, interfaces, nvlink, nixl, loaded, unreadable)


def _counter(name: str, text: str, *labels: str) -> CounterMetricFamily:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _port(device: str, port: int) -> str:
    """Name a device's port; the first one by the device alone, as most have one."""
    return device if port == 1 else f"{device}:{port}"
