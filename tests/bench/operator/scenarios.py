"""The parts of the benchmark: which there are, and how each runs on a fresh control plane."""

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.operator.figures import OURS, Figures
from bench.operator.parts.creation import Controller, create, quiet
from bench.operator.parts.editing import edit
from bench.operator.plane import Plane, fresh_plane
from bench.operator.process import memory
from bench.operator.shapes import Shape
from bench.operator.sides import AllChildren, Floor, Ours, Side
from bench.operator.subject import USER, Subject, operator
from bench.operator.targets import IDLE_MEMORY, MANY, SMALL
from testcluster.console import Progress

Follow = Callable[[Plane, Subject], Awaitable[None]]


@dataclass
class Bench:
    """A run of the benchmark.

    Attributes:
        directory: where control planes have their data and logs.
        progress: shows steps.
        figures: the results so far.
        profile: where profiles of the operator go; None records none.
    """

    directory: Path
    progress: Progress
    figures: Figures
    profile: Path | None = None

    async def without_controller(self, side: Side, shape: Shape) -> None:
        """Measure what a script makes that nobody looks after."""
        async with fresh_plane(self.directory / "plane", shape.pods) as plane:
            with self.progress.step(f"{shape}, {side.name}") as step:
                await create(plane, side, shape, figures=self.figures, step=step)

    async def with_operator(self, name: str, shape: Shape, follow: Follow | None = None) -> None:
        """Measure what the operator makes, and what follows on it.

        Args:
            name: of the part, which a profile carries.
            shape: what is made.
            follow: measures more on the deployments that are there then.
        """
        async with fresh_plane(self.directory / "plane", 2 * shape.pods) as plane:
            with operator(plane, self._profile(name)) as subject:
                with self.progress.step(f"{shape}, {OURS}") as step:
                    controller = Controller(subject.pid, USER)
                    await create(plane, Ours(), shape, figures=self.figures, step=step, controller=controller)
                if follow is not None:
                    await follow(plane, subject)

    def _profile(self, part: str) -> Path | None:
        return self.profile and self.profile.with_name(f"{self.profile.stem}-{part}{self.profile.suffix}")


async def _create(bench: Bench) -> None:
    """Make 100 deployments, beside the floor."""
    await bench.without_controller(Floor(), SMALL)
    await bench.with_operator("create", SMALL)


async def _children(bench: Bench) -> None:
    """Make everything that 100 deployments consist of by a script."""
    await bench.without_controller(AllChildren(), SMALL)


async def _many(bench: Bench) -> None:
    """Make 500 deployments, beside the floor."""
    await bench.without_controller(Floor(), MANY)
    await bench.with_operator("many", MANY)


async def _edit(bench: Bench) -> None:
    """Edit deployments among 500 that are idle."""

    async def follow(plane: Plane, _: Subject) -> None:
        await quiet(plane, USER)
        with bench.progress.step("Edit deployments") as step:
            await edit(plane, MANY, bench.figures, step)

    await bench.with_operator("edit", MANY, follow)


async def _idle(bench: Bench) -> None:
    """Weigh an operator that has nothing to do."""
    async with fresh_plane(bench.directory / "plane", 0) as plane:
        with operator(plane) as subject:
            with bench.progress.step("Idle operator"):
                await quiet(plane, USER, seconds=10)
            resident, shared = memory(subject.pid)
            bench.figures.put(IDLE_MEMORY, OURS, resident, f"PSS {shared:.0f} MB")


Part = Callable[[Bench], Coroutine[Any, Any, None]]
PARTS: Mapping[str, Part] = {
    "idle": _idle,
    "create": _create,
    "children": _children,
    "many": _many,
    "edit": _edit,
}
"""By the name that chooses it, in the order in which they run."""
