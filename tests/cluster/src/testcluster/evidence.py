"""How many KV bytes a decode worker read and over what, from its metrics. Pure."""

from collections import Counter
from collections.abc import Iterable

from prometheus_client.parser import text_string_to_metric_families

READ_BYTES = "disagg_kv_read_bytes_total"

Moved = Counter[tuple[str, str]]


def read_bytes(texts: Iterable[str]) -> Moved:
    """Sum the KV bytes read, by backend and transport, over the metrics texts of workers."""
    total: Moved = Counter()
    for text in texts:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == READ_BYTES:
                    key = (sample.labels.get("backend", "?"), sample.labels.get("transport", "?"))
                    total[key] += int(sample.value)
    return total


def moved_between(before: Moved, after: Moved) -> Moved:
    """What was read between two observations."""
    return Counter({key: value - before[key] for key, value in after.items() if value > before[key]})


def sentence(moved: Moved) -> str:
    """The result for people."""
    if not moved:
        return "No KV bytes moved: the decode worker read nothing from the prefill worker."
    parts = [
        f"{value:,} bytes over {backend} ({transport})"
        for (backend, transport), value in sorted(moved.items())
    ]
    read = "; ".join(parts)
    return f"KV cache of this chat request, read from the prefill pod by the decode pod through NIXL: {read}"
