"""The parts of the benchmark: which there are, and how they run, each scenario on fresh control planes."""

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.operator.figures import OURS, PEER, Figures
from bench.operator.lws import Lws, build, lws
from bench.operator.parts.creation import Controller, create, quiet
from bench.operator.parts.editing import edit
from bench.operator.parts.resting import checked, steady, weigh
from bench.operator.parts.rollout import roll_floor, roll_ours
from bench.operator.plane import Plane, fresh_plane
from bench.operator.shapes import Shape
from bench.operator.sides import AllChildren, Floor, Ours, Side
from bench.operator.subject import USER, Subject, operator
from bench.operator.targets import FULL_MEMORY, IDLE_MEMORY, Shapes, of
from testcluster.console import Progress, Step

Follow = Callable[[Plane], Awaitable[None]]
FollowOurs = Callable[[Plane, Subject], Awaitable[None]]
_IDLE_SECONDS = 10.0


@dataclass
class Bench:
    """A run of the benchmark.

    Attributes:
        directory: where control planes have their data and logs.
        progress: shows steps.
        figures: the results so far.
        shapes: what is made.
        steady_seconds: how long the operator is let be.
        lws_source: checkout of LWS to measure beside us; None measures none.
        profile: where profiles of the operator go; None records none.
    """

    directory: Path
    progress: Progress
    figures: Figures
    shapes: Shapes
    steady_seconds: float
    lws_source: Path | None = None
    profile: Path | None = None

    @contextmanager
    def attempt(self, what: str) -> Iterator[None]:
        """Measure something. Should that fail, it is noted, and what comes after is measured all the same."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest need not suffer from it
            self.figures.failures[what] = f"{type(error).__name__}: {error}"
            self.progress.note(f"{what} failed: {self.figures.failures[what]}")

    async def without_controller(self, side: Side, shape: Shape, follow: Follow | None = None) -> None:
        """Measure what a script makes that nobody looks after, and what follows on it."""
        with self.attempt(f"{shape}, {side.name}"):
            async with fresh_plane(self.directory / "plane", 2 * shape.pods) as plane:
                with self.progress.step(f"{shape}, {side.name}") as step:
                    await create(plane, side, shape, figures=self.figures, step=step)
                if follow is not None:
                    await follow(plane)

    async def with_operator(self, shape: Shape, follow: FollowOurs | None = None) -> None:
        """Measure what the operator makes, and what follows on it."""
        with self.attempt(f"{shape}, {OURS}"):
            async with fresh_plane(self.directory / "plane", 2 * shape.pods) as plane:
                with operator(plane, self.profile_of(shape)) as subject:
                    with self.progress.step(f"{shape}, {OURS}") as step:
                        await self.create(plane, subject, shape, step)
                    if follow is not None:
                        await follow(plane, subject)

    async def create(self, plane: Plane, subject: Subject, shape: Shape, step: Step) -> None:
        """Have the operator make the deployments of a shape. That ends when the operator does."""
        # What an operator asks of the API server when it starts is no part of this.
        await quiet(plane, USER)
        controller = Controller(subject.pid, USER)
        making = create(plane, Ours(), shape, figures=self.figures, step=step, controller=controller)
        await subject.outlives(making)

    async def with_lws(self, shape: Shape) -> None:
        """Measure what LWS makes, if there is its source."""
        if self.lws_source is None:
            return
        with self.attempt(f"{shape}, {PEER}"):
            program = build(self.lws_source)
            async with fresh_plane(self.directory / "plane", 2 * shape.pods) as plane:
                with (
                    lws(plane, self.lws_source, program) as controller,
                    self.progress.step(f"{shape}, {PEER}") as step,
                ):
                    await create(plane, Lws(), shape, figures=self.figures, step=step, controller=controller)

    def profile_of(self, shape: Shape) -> Path | None:
        """Return where the profile of a shape goes: its number of deployments is added to the name."""
        number = f"{shape.deployments}x{shape.workers // shape.deployments}"
        return self.profile and self.profile.with_name(f"{self.profile.stem}-{number}{self.profile.suffix}")


async def _small(bench: Bench, parts: frozenset[str]) -> None:
    async def roll(plane: Plane) -> None:
        with bench.progress.step(f"Roll out {bench.shapes.small}, floor") as step:
            await roll_floor(plane, bench.shapes.small, bench.figures, step)

    async def roll_with(plane: Plane, _: Subject) -> None:
        with bench.progress.step(f"Roll out {bench.shapes.small}, {OURS}") as step:
            await roll_ours(plane, bench.shapes.small, bench.figures, step)

    rolls = "rollout" in parts
    await bench.without_controller(Floor(), bench.shapes.small, roll if rolls else None)
    await bench.with_operator(bench.shapes.small, roll_with if rolls else None)
    await bench.with_lws(bench.shapes.small)


async def _children(bench: Bench, _: frozenset[str]) -> None:
    await bench.without_controller(AllChildren(), bench.shapes.small)


async def _many(bench: Bench, parts: frozenset[str]) -> None:
    async def follow(plane: Plane, _: Subject) -> None:
        await quiet(plane, USER)
        with bench.progress.step("Edit deployments") as step:
            await edit(plane, bench.shapes.many, bench.figures, step)

    if "many" in parts:
        await bench.without_controller(Floor(), bench.shapes.many)
    await bench.with_operator(bench.shapes.many, follow if "edit" in parts else None)
    if "many" in parts:
        await bench.with_lws(bench.shapes.many)


async def _wide(bench: Bench, _: frozenset[str]) -> None:
    await bench.without_controller(Floor(), bench.shapes.wide)
    await bench.with_operator(bench.shapes.wide)
    await bench.with_lws(bench.shapes.wide)


async def _groups(bench: Bench, _: frozenset[str]) -> None:
    await bench.without_controller(Floor(), bench.shapes.groups)
    await bench.with_operator(bench.shapes.groups)
    await bench.with_lws(bench.shapes.groups)


async def _resting(bench: Bench, parts: frozenset[str]) -> None:
    shape = bench.shapes.resting
    async with fresh_plane(bench.directory / "plane", shape.pods) as plane:
        with operator(plane, bench.profile_of(shape)) as subject:
            if "idle" in parts:
                with bench.attempt("idle"), bench.progress.step("Weigh an operator that has nothing to do"):
                    await quiet(plane, USER, seconds=_IDLE_SECONDS)
                    weigh(subject, IDLE_MEMORY, bench.figures)
            if parts == {"idle"}:
                return
            with bench.progress.step(f"{shape}, {OURS}") as step:
                await bench.create(plane, subject, shape, step)
            with bench.attempt("memory"):
                weigh(subject, of(shape, FULL_MEMORY), bench.figures)
            if "steady" in parts:
                with bench.attempt("steady"), bench.progress.step("Let the operator be") as step:
                    await steady(plane, subject, bench.steady_seconds, bench.figures, step)
        if "start" in parts:
            begun = plane.audit_size
            told = f"Start with {shape.deployments} deployments"
            with bench.progress.step(told) as step, operator(plane, await_ready=False) as subject:
                checking = checked(
                    plane, subject, shape, start_of_log=begun, figures=bench.figures, step=step
                )
                await subject.outlives(checking)


@dataclass(frozen=True)
class Scenario:
    """What is measured on the same control planes.

    Attributes:
        parts: names of what can be asked for.
        run: measures those of them that are asked for.
    """

    parts: tuple[str, ...]
    run: Callable[[Bench, frozenset[str]], Coroutine[Any, Any, None]]


SCENARIOS = (
    Scenario(("create", "rollout"), _small),
    Scenario(("children",), _children),
    Scenario(("many", "edit"), _many),
    Scenario(("wide",), _wide),
    Scenario(("groups",), _groups),
    Scenario(("idle", "memory", "steady", "start"), _resting),
)
"""In the order in which they run."""
PARTS = tuple(part for scenario in SCENARIOS for part in scenario.parts)


def chosen(wanted: Iterable[str]) -> list[tuple[Scenario, frozenset[str]]]:
    """Return the scenarios that have wanted parts, with these."""
    asked = frozenset(wanted)
    return [(each, parts) for each in SCENARIOS if (parts := asked & frozenset(each.parts))]
