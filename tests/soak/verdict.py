"""What samples say of leaks. Pure.

Between two moments at which all deployments are gone, everything that a process holds must be the same again;
during churn, memory must not grow. Nothing is compared with a figure of another machine.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from soak.sampling import Sample

_SECONDS_OF_HOUR = 3600.0
_SPARE_TASKS, _SPARE_FILES = 4, 8
"""Connections and watches that are just being made anew."""
_SPARE_OBJECTS, _SPARE_SHARE = 300, 0.25
"""Growth of one type's objects between two empty moments that is no leak: pools and caches that fill."""


@dataclass(frozen=True)
class Trend:
    """How memory went over a stretch of time.

    Attributes:
        per_hour: slope of the straight line that fits best, in 10^6 bytes an hour.
        growth: of the median of the last third over that of the first third, as a share.
    """

    per_hour: float
    growth: float


def trend(samples: Sequence[Sample]) -> Trend:
    """Return how anonymous memory went.

    Args:
        samples: at least three, of one process, in order of time.

    Raises:
        ValueError: there are fewer.
    """
    if len(samples) < 3:
        raise ValueError(f"{len(samples)} samples show no trend")
    times, sizes = [each.seconds for each in samples], [each.anonymous for each in samples]
    middle, mean = sum(times) / len(times), sum(sizes) / len(sizes)
    spread = sum((at - middle) ** 2 for at in times)
    slope = sum((at - middle) * (size - mean) for at, size in zip(times, sizes, strict=True)) / (
        spread or 1.0
    )
    third = len(sizes) // 3
    first, last = _median(sizes[:third]), _median(sizes[-third:])
    return Trend(slope * _SECONDS_OF_HOUR, last / first - 1)


@dataclass(frozen=True)
class Empty:
    """A process at a moment when every deployment is gone.

    Attributes:
        sample: what it holds.
        objects: its Python objects by type.
    """

    sample: Sample
    objects: Mapping[str, int]


def grown(before: Empty, after: Empty) -> dict[str, int]:
    """Return by how much each type has more objects than before, where that is more than pools explain."""
    found = {}
    for name, count in after.objects.items():
        more = count - before.objects.get(name, 0)
        if more > max(_SPARE_OBJECTS, _SPARE_SHARE * before.objects.get(name, 0)):
            found[name] = more
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def faults(before: Empty, after: Empty, through: Trend, *, growth: float) -> list[str]:
    """Return what a process holds that it should have let go, in sentences.

    Args:
        before: an empty moment after the process had its share of work.
        after: another one, after as much work again.
        through: how memory went in between.
        growth: the most that it may have grown, as a share.
    """
    old, new = before.sample, after.sample
    if old.process != new.process:
        raise ValueError("two moments of two processes tell nothing")
    found = [
        f"{name}: {then} before, {now} after"
        for name, then, now, spare in (
            ("tasks", old.tasks, new.tasks, _SPARE_TASKS),
            ("file descriptors", old.files, new.files, _SPARE_FILES),
            ("threads", old.threads, new.threads, _SPARE_TASKS),
        )
        if now > then + spare
    ]
    for name, left in (
        ("in the queue", new.waiting),
        ("to be reconciled later", new.delayed),
        ("failing", new.failing),
        ("objects in the caches", new.cached),
    ):
        if left:
            found.append(f"{left} {name} though no deployment is left")
    found += [f"{more} objects more of {name}" for name, more in grown(before, after).items()]
    if through.growth > growth:
        found.append(f"memory grew by {through.growth:.1%} during churn, {growth:.0%} is allowed")
    emptied = new.anonymous / old.anonymous - 1
    if emptied > growth:
        found.append(f"memory with no deployment grew by {emptied:.1%}, {growth:.0%} is allowed")
    return found


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
