"""One measurement: three looks at all workers around a canary, the prompt once more, the logs, a verdict.

Invariants: whatever the witnesses do, the end is a verdict; the counters that are judged are of the first
request alone, since caches may answer the second.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from disagg_operator.reconcile.verification.verifier import VerificationAsked
from disagg_operator.runtime.verification.agents import Agents, Look
from disagg_operator.runtime.verification.canary import LEAST_TOKENS, CanaryClient, Prompt, Reply, fresh
from disagg_operator.runtime.verification.pod_logs import PodLogs
from disagg_operator.verify.canary import Answer, Canary
from disagg_operator.verify.evidence import Evidence
from disagg_operator.verify.judge import judge
from disagg_operator.verify.kv import bytes_per_token
from disagg_operator.verify.logs import LogFindings, findings
from disagg_operator.verify.paths import DECODE, PREFILL, Window
from disagg_operator.verify.rate import Sample
from disagg_operator.verify.verdict import Verdict, unknown

logger = logging.getLogger(__name__)

_MOST_SAMPLED = 8
_SELDOM, _GROWTH = 4, 0.02

Step = Callable[[str], None]


@dataclass(frozen=True)
class Timing:
    """How long is waited for what, in seconds.

    Attributes:
        quiet: how long other traffic is watched before the canary.
        passive: how long users' traffic is watched where no canary may be sent.
        settle: pause before counters are read again that do not show the transfer yet.
        settles: how often they are.
        sample: pause between readings while a canary runs whose rate is asked for; else it grows from four
            times that by 2 % of the time that the canary has taken: enough to tell a burst from a trickle.
        agent: time that an agent has to answer; it reads /proc of the engine, in some milliseconds.
        answer: time that a canary has: on TCP a long prompt of a large model takes a minute and a half.
    """

    quiet: float = 2.0
    passive: float = 10.0
    settle: float = 1.0
    settles: int = 3
    sample: float = 0.05
    agent: float = 10.0
    answer: float = 120.0


@dataclass(frozen=True)
class Measured:
    """What came of a measurement.

    Attributes:
        verdict: what was found.
        reply: what became of the canary; None where none was sent.
    """

    verdict: Verdict
    reply: Reply | None = None


@dataclass(frozen=True)
class Measurement:
    """Measures deployments.

    Attributes:
        agents: the agents beside workers.
        canaries: requests.
        logs: logs of engines.
        timing: how long is waited for what.
    """

    agents: Agents
    canaries: CanaryClient
    logs: PodLogs
    timing: Timing = Timing()

    async def measure(self, asked: VerificationAsked, step: Step) -> Measured:
        """Measure how KV cache of a deployment moves.

        Args:
            asked: what is to be measured.
            step: is told what happens now.
        """
        return await _Once(self, asked, step).measure()


class _Once:
    """One measurement of one deployment."""

    def __init__(self, by: Measurement, asked: VerificationAsked, step: Step) -> None:
        self._agents, self._canaries, self._logs, self._timing = by.agents, by.canaries, by.logs, by.timing
        self._asked, self._step = asked, step
        self._roles = {worker.name: worker.role for worker in asked.workers}
        self._clock = asyncio.get_running_loop().time

    async def measure(self) -> Measured:
        self._step(f"reading the counters of {len(self._asked.workers)} workers")
        began, first = self._clock(), await self._look()
        missing = self._missing(first)
        if missing is not None:
            return Measured(missing)
        if not self._asked.canary:
            return Measured(await self._watch_users(began, first))
        self._step(f"watching other traffic for {self._timing.quiet:g} s")
        await asyncio.sleep(self._timing.quiet)
        return await self._send_canary(began, first)

    async def _watch_users(self, began: float, first: Look) -> Verdict:
        """Judge from what users' requests move, if there are any: nothing of that is background."""
        self._step(f"watching requests of users for {self._timing.passive:g} s")
        await asyncio.sleep(self._timing.passive)
        after = await self._look()
        window = self._window(first, first, after, 0.0, self._clock() - began)
        return self._with_failures(
            judge(self._asked.promises, window, None, await self._read_logs(after)), after
        )

    async def _send_canary(self, began: float, first: Look) -> Measured:
        prompt = fresh(self._asked.prompt_tokens)
        least = max(LEAST_TOKENS, self._asked.least_tokens)
        while True:
            before, sent = await self._look(), self._clock()
            self._step(f"sending a canary of about {prompt.words} tokens")
            reply, samples = await self._ask(prompt)
            if not reply.too_long or prompt.words <= least:
                break
            # What the model's context is, only its refusal tells.
            prompt = Prompt(prompt.canary, max(least, prompt.words // 2))
        after = await self._look()
        canary = Canary(
            tokens=reply.tokens,
            expected_bytes=self._expected(reply.tokens, after),
            first=Answer(reply.text, reply.error),
            again=Answer(reply.text, reply.error),
            seconds=reply.seconds,
            samples=samples,
            shared=self._asked.shared,
        )
        if reply.error:
            window = self._window(first, before, after, sent - began, self._clock() - sent)
            return Measured(judge(self._asked.promises, window, canary, await self._read_logs(after)), reply)
        for _ in range(self._timing.settles):
            window = self._window(first, before, after, sent - began, self._clock() - sent)
            if judge(self._asked.promises, window, canary, {}).transport.carries:
                break
            # The reader's end counts at once; the other may learn of it a moment later.
            await asyncio.sleep(self._timing.settle)
            after = await self._look()
        window = self._window(first, before, after, sent - began, self._clock() - sent)
        self._step("sending the same prompt again, to compare the answers")
        again = await self._canaries.ask(self._addresses(), self._asked.model, prompt)
        canary = replace(canary, again=Answer(again.text, again.error))
        verdict = judge(self._asked.promises, window, canary, await self._read_logs(after))
        return Measured(self._with_failures(verdict, after), reply)

    async def _ask(self, prompt: Prompt) -> tuple[Reply, tuple[Sample, ...]]:
        """Send the canary, and read counters meanwhile."""
        asking = asyncio.create_task(self._canaries.ask(self._addresses(), self._asked.model, prompt))
        try:
            samples = await self._sample(asking)
            return await asking, samples
        finally:
            asking.cancel()

    @property
    def _rate_matters(self) -> bool:
        return any(promise.minimum_gbps is not None for promise in self._asked.promises.values())

    async def _sample(self, asking: asyncio.Task[Reply]) -> tuple[Sample, ...]:
        """Read the counters of decode pods until the canary is answered, and once after that."""
        readers = [worker for worker in self._asked.workers if worker.role == DECODE][:_MOST_SAMPLED]
        samples: list[Sample] = []
        sent, answered = self._clock(), False
        while not answered:
            answered = asking.done()
            since = self._clock()
            look = await self._agents.look(readers, self._asked.agent_port)
            if len(look.evidence) == len(readers):
                told = tuple(look.evidence[worker.name] for worker in readers)
                samples.append(Sample(since, self._clock(), told))
            pause = self._timing.sample
            if not self._rate_matters:
                pause = _SELDOM * pause + _GROWTH * (self._clock() - sent)
            await asyncio.wait([asking], timeout=pause)
        return tuple(samples)

    async def _look(self) -> Look:
        return await self._agents.look(self._asked.workers, self._asked.agent_port)

    def _addresses(self) -> tuple[str, ...]:
        """Return where the frontend is. Before a deployment serves, only its pods can be asked."""
        service, pods = (self._asked.address,), self._asked.frontends
        return (*pods, *service) if self._asked.mode == "Enforce" else (*service, *pods)

    def _missing(self, first: Look) -> Verdict | None:
        """Return a verdict if a role tells nothing at all, so that a canary would be in vain."""
        for role in (PREFILL, DECODE):
            names = [name for name, its_role in self._roles.items() if its_role == role]
            if not names:
                return unknown("NoWorkers", f"There is no ready {role} worker to ask.")
            if not any(name in first.evidence for name in names):
                why = first.failures.get(names[0], "it is gone")
                return unknown(
                    "AgentsUnreachable",
                    f"No transport agent of the {role} workers answers ({names[0]}: {why}).",
                )
        return None

    def _with_failures(self, verdict: Verdict, look: Look) -> Verdict:
        failed = [f"{pod}: {why}" for pod, why in look.failures.items()]
        if verdict.reason != "AgentsUnreachable" or not failed:
            return verdict
        return replace(verdict, message=f"{verdict.message} {failed[0]}.")

    def _window(self, first: Look, before: Look, after: Look, quiet: float, seconds: float) -> Window:
        return Window(self._roles, first.evidence, before.evidence, after.evidence, quiet, seconds)

    def _expected(self, tokens: int, look: Look) -> float | None:
        """Return the bytes of KV cache of a prompt."""
        each: float | None = self._asked.kv_bytes_per_token
        if each is None:
            known = (evidence.model for evidence in look.evidence.values() if evidence.model is not None)
            model = next(known, None)
            each = bytes_per_token(model, self._asked.kv_dtype) if model is not None else None
        return None if each is None or tokens <= 0 else tokens * each

    async def _read_logs(self, look: Look) -> Mapping[str, LogFindings]:
        self._step("reading the engines' logs")
        texts, failures = await self._logs.read(self._asked.namespace, self._asked.workers)
        for failure in failures:
            logger.warning("%s", failure, extra={"deployment": f"{self._asked.namespace}/{self._asked.name}"})
        pods = texts.keys() | look.evidence.keys()
        return {pod: findings(_joined(texts.get(pod, ""), look.evidence.get(pod))) for pod in sorted(pods)}


def _joined(text: str, evidence: Evidence | None) -> str:
    files = (line for log in (evidence.logs if evidence else ()) for line in log.lines)
    return "\n".join([text, *files])
