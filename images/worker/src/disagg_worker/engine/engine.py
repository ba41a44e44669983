"""The engine as its users see it: an asyncio API over a compute loop that runs in its own thread.

Guarantee: with greedy or seeded sampling a request's tokens depend on its prompt and parameters alone, bit
for bit: not on other requests, not on preemption, and not on whether its prompt was computed here or by
another worker with the same weights, chunk size, thread count and kind of CPU.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Self

from disagg_worker.config import EngineConfig
from disagg_worker.engine.compute import limit_threads
from disagg_worker.engine.loop import ComputeLoop, Events
from disagg_worker.engine.request import Goal, Request
from disagg_worker.engine.scheduler import Scheduler
from disagg_worker.engine.stage import Stage, local_stage, max_positions
from disagg_worker.engine.stream import Channel, TokenStream, release_event
from disagg_worker.engine.types import (
    EngineOverloaded,
    EngineStats,
    EngineStopped,
    Prefilled,
    RequestRefused,
    SamplingParams,
    TokenOutput,
)
from disagg_worker.kv import NO_PREFIX, KVLease, Prefix, prefix_of
from disagg_worker.layers import ALONE, Place
from disagg_worker.model.gguf import read_gguf
from disagg_worker.model.spec import LlamaSpec
from disagg_worker.model.weights import LlamaWeights, digests, fingerprint


@dataclass(frozen=True)
class Followers:
    """The other nodes of a model on several nodes.

    Attributes:
        stages: Their stages, in the order of their ranks.
        digests: Of the weights that they hold, in the same order.
    """

    stages: tuple[Stage, ...] = ()
    digests: tuple[str, ...] = ()


NO_FOLLOWERS = Followers()


class Engine:
    """A model, its KV pool and the loop that computes with them.

    Args:
        config: Sizes and limits.
        spec: The model's dimensions.
        weights: The model's weights, as NumPy arrays; of a model on several nodes, those of the first.
        followers: The other nodes.

    Attributes:
        layout: Shape of KV blocks; must equal the peer's before blocks are read from it.
        pool: The KV memory.
        max_sequence_tokens: Longest prompt and answer together.
        eos_token_ids: Tokens with which the model ends a text.
        threads: BLAS threads in use.
        weight_bytes: Memory of the weights.
        on_step: Called from the compute thread after each step with its duration in seconds.

    Raises:
        ConfigError: The KV memory holds no block.
    """

    def __init__(
        self,
        config: EngineConfig,
        spec: LlamaSpec,
        weights: LlamaWeights,
        followers: Followers = NO_FOLLOWERS,
    ) -> None:
        self.threads = limit_threads(config.compute.threads)
        model = fingerprint(spec, (*digests(weights), *followers.digests))
        place = Place(0, 1 + len(followers.stages))
        self.pool, stage = local_stage(config, spec, weights, place, model)
        self.layout = self.pool.layout
        self.max_sequence_tokens = max_positions(config, spec)
        self.eos_token_ids = spec.eos_token_ids
        self.weight_bytes = weights.nbytes
        self.on_step: Callable[[float], None] | None = None
        self._vocab = spec.vocab
        self._chunk_tokens = config.scheduler.prefill_chunk_tokens
        self._reuse = config.kv_cache.enable_block_reuse
        self._most_waiting = config.scheduler.max_waiting_requests
        self._ids: set[str] = set()
        self._event_loop: asyncio.AbstractEventLoop | None = None
        self._compute = ComputeLoop(
            (stage, *followers.stages),
            Scheduler(self.pool, config.scheduler.max_batch_size, self._chunk_tokens),
            self._deliver,
            self._step_done,
        )
        self.pool.on_release = self._compute.wake

    @classmethod
    def load(
        cls, config: EngineConfig, place: Place = ALONE, join: Callable[[], Followers] = lambda: NO_FOLLOWERS
    ) -> Self:
        """Read the weights and allocate the pool (seconds; blocking).

        Args:
            config: Sizes and limits.
            place: Which part of the model is read.
            join: Waits for the other nodes; called once the weights are read.

        Raises:
            ModelError: The model cannot be used.
            ConfigError: The KV memory holds no block.
        """
        spec, weights = read_gguf(config.model.path / "model.gguf", place)
        return cls(config, spec, weights, join())

    @property
    def failure(self) -> Exception | None:
        """What ended the compute loop, if it failed; such an engine must be replaced."""
        return self._compute.failure

    async def start(self) -> None:
        """Start the compute loop; its results are delivered to the running event loop."""
        self._event_loop = asyncio.get_running_loop()
        self._compute.start()

    async def stop(self) -> None:
        """End the compute loop after its current step; requests that still run end as cancelled."""
        await asyncio.to_thread(self._compute.stop)

    def stats(self) -> EngineStats:
        """Counters and gauges now."""
        return self._compute.stats()

    async def prefill(self, request_id: str, tokens: Sequence[int], sampling: SamplingParams) -> Prefilled:
        """Compute a prompt and keep its KV blocks in a lease.

        Args:
            request_id: Unique among the requests that run.
            tokens: Token ids of the prompt.
            sampling: How the first token is chosen.

        Returns:
            The first token and the lease; the caller releases it.

        Raises:
            RequestRefused: The prompt can never be computed here.
            RequestCancelled: `cancel` was called.
            EngineOverloaded: Too many requests wait already.
            EngineStopped: The engine does not run.
        """
        request = self._request(request_id, Goal.PREFILL, list(tokens), len(tokens), sampling)
        channel = self._submit(request)
        event = await channel.take()
        channel.close()
        if not isinstance(event, Prefilled):
            raise TypeError(f"a prefill request received {event!r}")
        return event

    async def reserve(self, request_id: str, tokens: int) -> KVLease:
        """Wait, in the order of arrival, for the blocks of `tokens` positions (to read a peer's KV into).

        Returns:
            A lease that the caller releases or hands to `resume`. Raises like `prefill`.
        """
        request = self._request(request_id, Goal.RESERVE, [0] * tokens, tokens, SamplingParams(max_tokens=1))
        channel = self._submit(request)
        event = await channel.take()
        channel.close()
        if not isinstance(event, KVLease):
            raise TypeError(f"a reservation received {event!r}")
        return event

    def generate(
        self, request_id: str, tokens: Sequence[int], sampling: SamplingParams
    ) -> AsyncIterator[TokenOutput]:
        """Compute a prompt and generate from it in one place.

        The request starts with the call. Raises RequestRefused, EngineOverloaded and EngineStopped at once;
        the iterator raises EngineStopped when the compute loop fails.
        """
        request = self._request(request_id, Goal.GENERATE, list(tokens), len(tokens), sampling)
        return TokenStream(self._submit(request))

    def resume(
        self,
        request_id: str,
        tokens: Sequence[int],
        lease: KVLease,
        first_token: int,
        sampling: SamplingParams,
    ) -> AsyncIterator[TokenOutput]:
        """Generate from KV that was computed elsewhere and read into `lease`.

        Args:
            request_id: Unique among the requests that run.
            tokens: Token ids of the prompt, all of whose KV is in the lease.
            lease: Owned by the engine from the call on, whatever happens.
            first_token: The token that the prefill worker chose; it is yielded first.
            sampling: The same parameters as for the prefill.

        Raises:
            RequestRefused: The request can never run here.
            EngineStopped: The engine does not run.
        """
        try:
            _check_lease(lease, len(tokens))
            request = self._request(request_id, Goal.GENERATE, [*tokens, first_token], len(tokens), sampling)
            request.lease, request.computed = lease, len(tokens)
            return TokenStream(self._submit(request))
        except BaseException:
            lease.release()
            raise

    def cancel(self, request_id: str) -> None:
        """End a request as soon as possible; unknown ids are ignored."""
        self._compute.cancel(request_id)

    def _request(
        self, request_id: str, goal: Goal, tokens: list[int], prompt: int, sampling: SamplingParams
    ) -> Request:
        longest = min(self.max_sequence_tokens - 1, self.pool.capacity_tokens)
        if prompt == 0:
            raise RequestRefused("tokens: the prompt is empty; send at least one token")
        if prompt > longest:
            raise RequestRefused(
                f"tokens: the prompt has {prompt} tokens, this worker takes {longest} at most "
                "(scheduler.max_sequence_tokens, the model's context, or kv_cache.memory_mib)"
            )
        if not all(0 <= token < self._vocab for token in tokens):
            raise RequestRefused(f"tokens: ids must be from 0 to {self._vocab - 1}")
        limit = min(prompt + sampling.max_tokens, self.max_sequence_tokens, self.pool.capacity_tokens + 1)
        seed = secrets.randbits(64) if sampling.seed is None else sampling.seed
        request = Request(request_id, goal, tokens, prompt, limit, sampling, seed, self.eos_token_ids)
        request.prefix = NO_PREFIX if goal is Goal.RESERVE else self._prefix(tokens[:prompt])
        return request

    def _prefix(self, prompt: Sequence[int]) -> Prefix:
        if not self._reuse:
            return NO_PREFIX
        return prefix_of(prompt, self.layout.block_tokens, self._chunk_tokens)

    def _submit(self, request: Request) -> Channel:
        if request.id in self._ids:
            raise RequestRefused(f"request_id: {request.id} is in use")
        if self._event_loop is None:
            raise EngineStopped("the engine does not take requests: it was not started")
        self._require_a_place()
        channel = Channel(lambda: self._abandon(request.id))
        request.receive = channel.put
        self._compute.submit(request)
        self._ids.add(request.id)
        return channel

    def _require_a_place(self) -> None:
        waiting = len(self._ids) - self._compute.stats().running
        if waiting >= self._most_waiting:
            blocks = self.pool.counts()
            raise EngineOverloaded(
                f"this worker is overloaded: {waiting} requests wait (scheduler.max_waiting_requests), and "
                f"of {self.pool.num_blocks} KV blocks {blocks.free} are free, {blocks.active} in use and "
                f"{blocks.held} held until decode has read them; send the request again later"
            )

    def _abandon(self, request_id: str) -> None:
        self._ids.discard(request_id)
        self._compute.cancel(request_id)

    def _deliver(self, events: Events) -> None:
        """Pass events from the compute thread to the event loop, or free what they hold if it is gone."""
        try:
            if self._event_loop is not None:
                self._event_loop.call_soon_threadsafe(_distribute, events)
        except RuntimeError:
            for _, event in events:
                release_event(event)

    def _step_done(self, seconds: float) -> None:
        if self.on_step is not None:
            self.on_step(seconds)


def _distribute(events: Events) -> None:
    for request, event in events:
        request.receive(event)


def _check_lease(lease: KVLease, tokens: int) -> None:
    if lease.tokens < tokens:
        raise RequestRefused(f"tokens: the prompt has {tokens}, its lease holds {lease.tokens} positions")
