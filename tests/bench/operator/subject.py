"""The operator under measurement: the process that the image runs, as a user of its own, perhaps profiled."""

import asyncio
import re
import signal
import subprocess
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.operator.plane import Plane
from integration.operator.control_plane import OperatorProcess
from testcluster.errors import ClusterError
from testcluster.toolchain import uv

USER = "disagg-operator"
_SAMPLES_PER_SECOND = 200
_PROFILE_END_SECONDS = 60.0
_LOOK_SECONDS = 1.0


@dataclass
class Subject:
    """A running operator.

    Attributes:
        process: the process.
        started: when it was started, by time.monotonic().
    """

    process: OperatorProcess
    started: float

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process.process
        return self.process.process.pid

    async def outlives(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work while the operator runs.

        Raises:
            ClusterError: the operator ended before.
        """
        task = asyncio.create_task(work)
        while not task.done():
            if self.process.process is None or self.process.process.poll() is not None:
                task.cancel()
                await asyncio.wait([task])
                raise ClusterError("the operator ended by itself", log=self.process.log)
            await asyncio.wait([task], timeout=_LOOK_SECONDS)
        await task

    def metric(self, name: str) -> float | None:
        """Return the value of a metric without labels; None where it does not tell it (yet)."""
        found = re.search(rf"^{name} (\S+)$", self.process.says(f"/metrics?name[]={name}"), re.MULTILINE)
        return float(found[1]) if found else None


@contextmanager
def operator(plane: Plane, profile: Path | None = None, *, await_ready: bool = True) -> Iterator[Subject]:
    """Run the operator for a while.

    Args:
        plane: the control plane that it works on.
        profile: where py-spy's profile of the block goes; None records none.
        await_ready: whether it leads and its caches are in step before the block begins.
    """
    credentials = plane.control.credentials("operator", USER, ["system:masters"])
    process = OperatorProcess(credentials, plane.directory / "logs" / "operator.log")
    started = time.monotonic()
    process.start()
    subject = Subject(process, started)
    try:
        if await_ready:
            process.wait_until_leading()
        with _profiled(subject.pid, profile):
            yield subject
    finally:
        if process.process and process.process.poll() is None:
            process.stop()


@contextmanager
def _profiled(pid: int, profile: Path | None) -> Iterator[None]:
    if profile is None:
        yield
        return
    profile.parent.mkdir(parents=True, exist_ok=True)
    form = "speedscope" if profile.suffix == ".json" else "flamegraph"
    argv = [uv(), "tool", "run", "py-spy", "record", "--pid", str(pid), "--output", str(profile)]
    argv += ["--format", form, "--rate", str(_SAMPLES_PER_SECOND), "--nonblocking"]
    with profile.with_suffix(".log").open("wb") as log:
        recorder = subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        recorder.send_signal(signal.SIGINT)
        try:
            recorder.wait(_PROFILE_END_SECONDS)
        except subprocess.TimeoutExpired:
            recorder.kill()
    if not profile.exists():
        raise ClusterError("py-spy recorded no profile", log=profile.with_suffix(".log"))
