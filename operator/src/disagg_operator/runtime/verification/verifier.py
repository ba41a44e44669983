"""Who is measured when: the implementation of `reconcile.verification.Verifier`.

Invariants: `want` never waits and never fails; a deployment is measured by one worker at a time, and so many
deployments at once at most; canaries to one deployment are a minute apart unless the user asked for one; what
could not be told is tried again, later each time; no failure of a measurement ends the operator.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import aiohttp

from disagg_operator.reconcile.kinds import Key
from disagg_operator.reconcile.verification.verifier import (
    VerificationAsked,
    VerificationResult,
    VerificationState,
)
from disagg_operator.runtime.metrics import Metrics
from disagg_operator.runtime.queue import WorkQueue
from disagg_operator.runtime.verification.agents import Agents
from disagg_operator.runtime.verification.canary import CanaryClient
from disagg_operator.runtime.verification.measurement import Measured, Measurement, Timing
from disagg_operator.runtime.verification.pod_logs import LogSource, PodLogs
from disagg_operator.verify.verdict import Verdict, unknown

logger = logging.getLogger(__name__)

AT_ONCE = 4
APART_SECONDS = 60.0
"""Least time between two canaries that moved KV cache of one deployment, unless the user asks for one."""
FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS = 10.0, 600.0
PATIENT_TRIES = 3
"""Tries that may end in Unknown before that is told: a frontend needs a moment to know new workers."""
_LONGEST_MESSAGE, _LONGEST_STEP = 1000, 250
_GIGA = 1e9


@dataclass
class _Run:
    """The measurement of one round of a deployment, with its repetitions."""

    asked: VerificationAsked
    step: str = "waiting for a turn"
    result: VerificationResult | None = None
    tries: int = 0
    task: "asyncio.Task[Measured] | None" = None


@dataclass(frozen=True)
class _Answered:
    """The last canary of a deployment that was answered: when, and for which request of the user."""

    at: float
    request: str


class TransportVerifier:
    """Measures in the background how KV cache of deployments moves."""

    def __init__(
        self,
        logs: LogSource,
        changed: Callable[[Key], None],
        metrics: Metrics,
        *,
        timing: Timing = Timing(),  # noqa: B008 - immutable
        apart: float = APART_SECONDS,
        first_retry: float = FIRST_RETRY_SECONDS,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Make a verifier; `run` it as a task.

        Args:
            logs: where engines' logs come from.
            changed: is told a deployment of which the answer changed.
            metrics: where results are counted.
            timing: how long a measurement waits for what.
            apart: least time between two canaries to one deployment, in seconds.
            first_retry: seconds until the second try; each further pause is twice as long.
            now: the time that results carry.
        """
        self._logs, self._changed, self._metrics = logs, changed, metrics
        self._timing, self._apart, self._now = timing, apart, now
        self._queue: WorkQueue[Key] = WorkQueue(base=first_retry, longest=LONGEST_RETRY_SECONDS)
        self._runs: dict[Key, _Run] = {}
        self._answered: dict[Key, _Answered] = {}

    def want(self, key: Key, asked: VerificationAsked) -> VerificationState:
        """See `reconcile.verification.Verifier`."""
        run = self._runs.get(key)
        if run is None or run.asked.round != asked.round:
            pause = self._pause(key, asked)
            self._end(run)
            run = self._runs[key] = _Run(asked)
            self._queue.forget(key)
            self._queue.add_after(key, pause)
        else:
            run.asked = asked
        return VerificationState(run.step, run.result)

    def forget(self, key: Key) -> None:
        """See `reconcile.verification.Verifier`."""
        self._end(self._runs.pop(key, None))
        self._queue.forget(key)

    async def run(self) -> None:
        """Measure until cancelled."""
        try:
            async with new_session() as session:
                measurement = Measurement(
                    Agents(session, self._timing.agent),
                    CanaryClient(session, self._timing.answer),
                    PodLogs(self._logs),
                    self._timing,
                )
                async with asyncio.TaskGroup() as group:
                    for number in range(AT_ONCE):
                        group.create_task(self._work(measurement), name=f"verifier {number}")
        finally:
            self._queue.close()

    async def _work(self, measurement: Measurement) -> None:
        while True:
            key = await self._queue.get()
            try:
                run = self._runs.get(key)
                if run is not None:
                    await self._measure(measurement, key, run)
            finally:
                self._queue.done(key)

    async def _measure(self, measurement: Measurement, key: Key, run: _Run) -> None:
        run.task = asyncio.create_task(
            measurement.measure(run.asked, lambda step: self._tell(key, run, step))
        )
        try:
            await asyncio.wait([run.task])
        finally:
            run.task.cancel()
        if run.task.cancelled() or self._runs.get(key) is not run:
            return  # another round has begun, or the deployment is gone
        error = run.task.exception()
        if error is None:
            measured = run.task.result()
        else:
            logger.error("the measurement of %s failed; this is a bug", key, exc_info=error)
            measured = Measured(
                unknown(
                    "MeasurementFailed",
                    f"The measurement failed unexpectedly ({type(error).__name__}: {error}). This is a bug: "
                    "please report it with the operator's log.",
                )
            )
        self._conclude(key, run, measured)

    def _conclude(self, key: Key, run: _Run, measured: Measured) -> None:
        verdict, reply = measured.verdict, measured.reply
        self._metrics.kv_transport_verifications.labels(verdict.verified, verdict.reason).inc()
        if reply is not None and reply.text is not None:
            now = asyncio.get_running_loop().time()
            recent = {of: last for of, last in self._answered.items() if now - last.at < self._apart}
            self._answered = {**recent, key: _Answered(now, run.asked.request)}
            self._metrics.kv_transport_canary_seconds.observe(reply.seconds)
            if verdict.transport.carries:
                self._metrics.kv_transport_canary_bytes.labels(verdict.transport.value).inc(verdict.bytes)
        logger.info(
            "%s: %s: %s", verdict.reason, verdict.label, verdict.message, extra={"deployment": str(key)}
        )
        run.tries += 1
        if verdict.verified == "Unknown":
            delay = self._queue.retry(key, self._apart if key in self._answered else 0.0)
            run.step = f"trying again in {delay:.0f} s: {verdict.message}"[:_LONGEST_STEP]
        else:
            self._queue.forget(key)
            run.step = ""
        if verdict.verified != "Unknown" or run.tries >= PATIENT_TRIES or not run.asked.canary:
            run.result = result_of(verdict, self._now())
        self._changed(key)

    def _tell(self, key: Key, run: _Run, step: str) -> None:
        run.step = step
        if run.result is None and self._runs.get(key) is run:
            self._changed(key)

    def _pause(self, key: Key, asked: VerificationAsked) -> float:
        """Return the seconds to wait before a new round may send its canary."""
        if not asked.canary:
            return 0.0
        last = self._answered.get(key)
        if last is None or last.request != asked.request:
            return 0.0
        return max(0.0, last.at + self._apart - asyncio.get_running_loop().time())

    def _end(self, run: _Run | None) -> None:
        if run is not None and run.task is not None:
            run.task.cancel()


def new_session() -> aiohttp.ClientSession:
    """Return what asks pods, which may be hostile: it keeps no cookies of theirs and unpacks no answer."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity"},
    )


def result_of(verdict: Verdict, time: datetime) -> VerificationResult:
    """Return a verdict as the status keeps it.

    Args:
        verdict: what was found.
        time: when.
    """
    measured = verdict.transport.carries
    return VerificationResult(
        verified=verdict.verified,
        reason=verdict.reason,
        message=verdict.message[:_LONGEST_MESSAGE],
        time=time.replace(microsecond=0),
        label=verdict.label if verdict.transport.value != "Unknown" else "",
        role_labels={role: found.label for role, found in verdict.roles.items()},
        bytes=verdict.bytes if measured else None,
        expected_bytes=verdict.expected_bytes,
        gbps=None if verdict.rate is None else round(verdict.rate / _GIGA, 3),
        devices_used=verdict.devices_used if verdict.devices_given else None,
        devices_given=verdict.devices_given or None,
        confidence=verdict.confidence if measured else None,
        evidence=verdict.evidence,
    )
