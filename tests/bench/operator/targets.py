"""What is measured and what must be reached: the one table of both. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.operator.figures import FLOOR, OURS, Figures
from bench.operator.shapes import Shape

SMALL = Shape(100, 1, 1)
MANY = Shape(500, 1, 1)
WIDE = Shape(1, 500, 500)
GROUPS = Shape(1, 25, 100, nodes=8)
THOUSAND = Shape(1000, 1, 2)

CREATED, AVAILABLE, READY = "created", "Available", "pods ready"
CPU, PEAK = "CPU of the operator", "largest memory of the operator"
WRITES, READS = "API writes a deployment until Available", "API reads a deployment until Available"
CACHED = "reads that a cache could answer, a deployment"
EDIT_P50, EDIT_P99 = "spec edit to child updated, p50", "spec edit to child updated, p99"
ROLLOUT = "rolling update"
IDLE_MEMORY, FULL_MEMORY = (
    "memory, idle",
    f"memory, {THOUSAND.deployments} deployments with {THOUSAND.pods} pods",
)
STEADY_WRITES, STEADY_CPU = "steady state: writes", "steady state: share of a core"
START, START_WRITES = "start to all deployments checked", "start: writes"


class Reached(StrEnum):
    """Whether a figure is what it must be."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "not measured"
    NONE = ""


@dataclass(frozen=True)
class Target:
    """A figure, and what it must be.

    Attributes:
        name: of the figure.
        unit: of it.
        most: the most that it may be; None where it only informs.
        relative: whether that is a multiple of the floor of the same run.
    """

    name: str
    unit: str
    most: float | None = None
    relative: bool = False

    def ratio(self, figures: Figures, side: str = OURS) -> float | None:
        """Return a side's figure as a multiple of the floor."""
        value, floor = figures.get(self.name, side), figures.get(self.name, FLOOR)
        return None if value is None or not floor else value / floor

    def reached(self, figures: Figures) -> Reached:
        """Tell whether the figure is what it must be."""
        if self.most is None:
            return Reached.NONE
        value = self.ratio(figures) if self.relative else figures.get(self.name, OURS)
        if value is None:
            return Reached.UNKNOWN
        return Reached.YES if value <= self.most else Reached.NO

    @property
    def bound(self) -> str:
        """What must be reached, for people."""
        if self.most is None:
            return ""
        return f"≤ {self.most:g} × floor" if self.relative else f"≤ {self.most:g} {self.unit}".strip()  # noqa: RUF001


def of(shape: Shape, what: str) -> str:
    """Return the name of a figure about a shape."""
    return f"{shape}: {what}"


def creation(shape: Shape, created: float, available: float) -> list[Target]:
    """Return the figures of deployments that are made."""
    return [
        Target(of(shape, CREATED), "s", created, relative=True),
        Target(of(shape, AVAILABLE), "s", available, relative=True),
        Target(of(shape, CPU), "s"),
        Target(of(shape, PEAK), "MB"),
    ]


def traffic(shape: Shape) -> list[Target]:
    """Return the figures of requests to the API server, a deployment."""
    return [
        Target(of(shape, WRITES), "", 12),
        Target(of(shape, READS), ""),
        Target(of(shape, CACHED), "", 0),
    ]


TARGETS: Sequence[Target] = (
    *creation(SMALL, 1.5, 1.3),
    *creation(MANY, 1.5, 1.3),
    *creation(WIDE, 1.3, 1.3),
    *creation(GROUPS, 1.3, 1.3),
    *traffic(SMALL),
    *traffic(MANY),
    Target(EDIT_P50, "ms", 100),
    Target(EDIT_P99, "ms", 300),
    Target(of(SMALL, ROLLOUT), "s", 1.5, relative=True),
    Target(IDLE_MEMORY, "MB", 80),
    Target(FULL_MEMORY, "MB", 200),
    Target(STEADY_WRITES, "", 0),
    Target(STEADY_CPU, "%", 2),
    Target(START, "s", 10),
    Target(START_WRITES, "", 0),
)
"""In the order in which they are shown."""
