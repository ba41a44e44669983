"""What is measured and what must be reached: the one table of both. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.operator.figures import FLOOR, OURS, Figures
from bench.operator.shapes import Shape


@dataclass(frozen=True)
class Shapes:
    """The shapes of a run, by what is measured on them.

    Attributes:
        small: creation, requests and rollouts.
        many: creation of more, and edits among idle ones.
        wide: one deployment with many pods.
        groups: one deployment of pod groups on several nodes.
        resting: memory, steady state and start.
    """

    small: Shape
    many: Shape
    wide: Shape
    groups: Shape
    resting: Shape


FULL = Shapes(
    small=Shape(100, 1, 1),
    many=Shape(500, 1, 1),
    wide=Shape(1, 500, 500),
    groups=Shape(1, 25, 100, nodes=8),
    resting=Shape(1000, 1, 2),
)
SHORT = Shapes(
    small=Shape(20, 1, 1),
    many=Shape(40, 1, 1),
    wide=Shape(1, 20, 20),
    groups=Shape(1, 2, 3, nodes=4),
    resting=Shape(60, 1, 2),
)

CREATED, AVAILABLE, READY = "created", "Available", "pods ready"
CPU, PEAK = "CPU of the operator", "largest memory of the operator"
CONTROL_CPU = "CPU of the control plane"
WRITES, READS = "API writes a deployment until Available", "API reads a deployment until Available"
CACHED = "reads that a cache could answer, a deployment"
EDIT_P50, EDIT_P99 = "spec edit to child updated, p50", "spec edit to child updated, p99"
ROLLOUT = "rolling update"
IDLE_MEMORY, FULL_MEMORY = "memory, idle", "memory"
STEADY_WRITES, STEADY_READS = "steady state, writes", "steady state, reads"
STEADY_CPU = "steady state, share of a core"
START, START_WRITES = "start to all checked", "start, writes"


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


def targets(shapes: Shapes, *, check: bool = False) -> Sequence[Target]:
    """Return what is measured on these shapes, in the order in which it is shown.

    Args:
        shapes: of the run.
        check: whether the bounds are those of a short run, which shall notice a regression and nothing else:
            also a machine that does other things meanwhile must keep them.
    """

    def row(name: str, unit: str, full: float | None = None, short: float | None = None) -> Target:
        return Target(name, unit, short if check else full)

    def ratio(name: str, full: float, short: float) -> Target:
        return Target(name, "s", short if check else full, relative=True)

    def creation(shape: Shape, created: tuple[float, float], available: tuple[float, float]) -> list[Target]:
        return [
            ratio(of(shape, CREATED), *created),
            ratio(of(shape, AVAILABLE), *available),
            row(of(shape, CPU), "s", None, 1 + 0.15 * shape.deployments),
            row(of(shape, CONTROL_CPU), "s"),
            row(of(shape, PEAK), "MB", None, 150),
        ]

    small, many, wide, groups, resting = (
        shapes.small,
        shapes.many,
        shapes.wide,
        shapes.groups,
        shapes.resting,
    )
    return (
        *creation(small, (1.5, 5), (1.3, 5)),
        *creation(many, (1.5, 5), (1.3, 5)),
        *creation(wide, (1.3, 5), (1.3, 5)),
        *creation(groups, (1.3, 8), (1.3, 8)),
        row(of(small, WRITES), "", 12, 18),
        row(of(small, READS), "", None, 3),
        row(of(small, CACHED), "", 0, 3),
        row(of(many, WRITES), "", 12, 18),
        row(of(many, CACHED), "", 0, 3),
        row(EDIT_P50, "ms", 100, 3000),
        row(EDIT_P99, "ms", 300, 10000),
        ratio(of(small, ROLLOUT), 1.5, 4),
        row(IDLE_MEMORY, "MB", 80, 100),
        row(of(resting, FULL_MEMORY), "MB", 200, 150),
        row(STEADY_WRITES, "", 0, 0),
        row(STEADY_READS, ""),
        row(STEADY_CPU, "%", 2, 10),
        row(of(resting, START), "s", 10, 90),
        row(of(resting, START_WRITES), "", 0, 0),
    )
