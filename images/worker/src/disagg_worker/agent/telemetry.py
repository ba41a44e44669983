"""What others in the pod count: NIXL's Prometheus exporter, and the reference engine's own metrics."""

from disagg_worker.agent.evidence import Engine, KvRead, Nixl
from disagg_worker.agent.reading import Unread
from disagg_worker.agent.scraping import ScrapeError, scrape

# NIXL, docs/telemetry.md: counters of one agent, whatever its backend.
_NIXL_RX, _NIXL_TX = "agent_rx_bytes_total", "agent_tx_bytes_total"


def read_nixl(url: str) -> Nixl:
    """Read NIXL's byte counters.

    Args:
        url: NIXL's exporter (NIXL_TELEMETRY_EXPORTER=prometheus); empty where it is off.
    """
    if not url:
        return Nixl(False, "NIXL's telemetry is off, or the agent was not told its address")
    try:
        samples = scrape(url)
    except ScrapeError as error:
        return Nixl(False, str(error), source=url)
    rx = [sample.value for sample in samples if sample.name == _NIXL_RX]
    tx = [sample.value for sample in samples if sample.name == _NIXL_TX]
    if not rx and not tx:
        return Nixl(False, f"no {_NIXL_RX} there", source=url)
    return Nixl(True, "", rx_bytes=int(sum(rx)), tx_bytes=int(sum(tx)), source=url)


def read_engine(url: str, unread: Unread) -> Engine | None:
    """Read the reference engine's count of KV bytes.

    Args:
        url: The engine's metrics; empty when the engine is another.
        unread: Gets a note when they cannot be read.

    Returns:
        None when there is nothing to read.
    """
    if not url:
        return None
    try:
        samples = scrape(url)
    except ScrapeError as error:
        unread.add("metrics of the engine", str(error))
        return None
    read = tuple(
        KvRead(sample.labels.get("backend", ""), sample.labels.get("transport", ""), int(sample.value))
        for sample in samples
        if sample.name == "disagg_kv_read_bytes_total"
    )
    served = sum(sample.value for sample in samples if sample.name == "disagg_kv_served_bytes_total")
    return Engine(read, int(served))
