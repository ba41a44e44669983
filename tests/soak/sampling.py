"""What an operator process holds at one moment: from Linux' /proc, and from its own metrics."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

_MEGABYTE = 1e6
_KIBIBYTE = 1024


@dataclass(frozen=True)
class Sample:
    """One moment.

    Attributes:
        seconds: since the soak began.
        process: number of the operator process, from 0 on.
        deployments: deployments that the script has made and not deleted.
        resident: resident set size in 10^6 bytes.
        anonymous: memory that is no file's, swapped or not, in 10^6 bytes; what others run changes nothing.
        threads: threads of the process.
        files: open file descriptors, sockets among them.
        sockets: open sockets.
        tasks: tasks of the event loop.
        waiting: deployments in the queue.
        delayed: deployments that are reconciled later.
        failing: deployments whose last reconcile failed.
        cached: objects in the caches.
        reconciles: reconciles so far, by result.
        requests: requests to the API server so far, by verb.
    """

    seconds: float
    process: int
    deployments: int
    resident: float
    anonymous: float
    threads: int
    files: int
    sockets: int
    tasks: int
    waiting: int
    delayed: int
    failing: int
    cached: int
    reconciles: dict[str, int]
    requests: dict[str, int]


def sample(pid: int, metrics: str, *, seconds: float, process: int, deployments: int) -> Sample:
    """Return what a process holds now.

    Args:
        pid: the process.
        metrics: the text of its /metrics.
        seconds: since the soak began.
        process: number of the process.
        deployments: deployments that are there.

    Raises:
        OSError: the process is gone.
    """
    values: dict[str, Counter[str]] = {}
    for family in text_string_to_metric_families(metrics):
        for each in family.samples:
            label = each.labels.get("verb") or each.labels.get("result") or ""
            values.setdefault(each.name, Counter())[label] += int(each.value)
    memory = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    links = _links(pid)
    return Sample(
        seconds=round(seconds, 1),
        process=process,
        deployments=deployments,
        resident=_kilobytes(memory, "Rss"),
        anonymous=_kilobytes(memory, "Anonymous") + _kilobytes(memory, "Swap"),
        threads=int(re.findall(r"^Threads:\s+(\d+)", status, re.MULTILINE)[0]),
        files=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
        tasks=values["disagg_tasks"].total(),
        waiting=values["disagg_queue_depth"].total(),
        delayed=values["disagg_queue_delayed"].total(),
        failing=values["disagg_queue_failing"].total(),
        cached=values.get("disagg_cached_objects", Counter()).total(),
        reconciles=dict(values.get("disagg_reconciles_total", {})),
        requests=dict(values.get("disagg_api_requests_total", {})),
    )


def _links(pid: int) -> list[str]:
    found = []
    for path in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(path.readlink()))
        except FileNotFoundError:  # it was closed meanwhile
            continue
    return found


def _kilobytes(text: str, name: str) -> float:
    (found,) = re.findall(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    return round(int(found) * _KIBIBYTE / _MEGABYTE, 2)
