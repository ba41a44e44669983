"""Runs a verifier as the operator does, and waits for its answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.reconcile.verification.verifier import VerificationAsked, VerificationResult
from disagg_operator.runtime.metrics import Metrics
from disagg_operator.runtime.verification.measurement import Timing
from disagg_operator.runtime.verification.verifier import TransportVerifier
from integration.verification.simulated_workers import KEY

QUICK = Timing(quiet=0.05, passive=0.1, settle=0.02, settles=2, sample=0.01)
SRD_LOG = (
    "NixlTransferAgent using NIXL backend: UCX\n"
    "ucp_context_2 self cfg#1 rma_am(srd/rdmap40s0:1) am(srd/rdmap40s0:1 srd/rdmap62s0:1)\n"
)


@dataclass
class Logs:
    """SIMULATED logs of pods."""

    text: str = SRD_LOG
    error: ClusterError | None = None
    read: list[tuple[str, str, str, int | None]] = field(default_factory=list)

    async def log(
        self, namespace: str, pod: str, container: str, *, most_bytes: int, tail_lines: int | None = None
    ) -> str:
        self.read.append((namespace, pod, container, tail_lines))
        if self.error is not None:
            raise self.error
        return self.text[:most_bytes]


@dataclass
class Watcher:
    """Runs a verifier and waits for its answers."""

    verifier: TransportVerifier
    metrics: Metrics
    logs: Logs
    changed: asyncio.Event
    steps: list[str] = field(default_factory=list)

    async def result(self, asked: VerificationAsked, seconds: float = 10.0) -> VerificationResult:
        """Ask as a reconcile would, until there is a result."""
        async with asyncio.timeout(seconds):
            while True:
                self.changed.clear()
                state = self.verifier.want(KEY, asked)
                if state.step and state.step not in self.steps:
                    self.steps.append(state.step)
                if state.result is not None:
                    return state.result
                await self.changed.wait()

    async def step(self, asked: VerificationAsked, word: str, seconds: float = 10.0) -> str:
        """Ask until a step has a word in it."""
        async with asyncio.timeout(seconds):
            while True:
                self.changed.clear()
                step = self.verifier.want(KEY, asked).step
                if word in step:
                    return step
                await self.changed.wait()

    def sample(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def watching(
    timing: Timing = QUICK, logs: Logs | None = None, **options: Any
) -> AsyncIterator[Watcher]:
    changed, metrics, source = asyncio.Event(), Metrics(), logs or Logs()
    values: dict[str, Any] = {"apart": 0.0, "first_retry": 0.02, **options}
    verifier = TransportVerifier(source, lambda _: changed.set(), metrics, timing=timing, **values)
    running = asyncio.create_task(verifier.run())
    try:
        yield Watcher(verifier, metrics, source, changed)
        assert not running.done(), "the verifier ended by itself"
    finally:
        running.cancel()
        await asyncio.wait([running])
