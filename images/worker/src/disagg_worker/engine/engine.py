"""The engine as its users see it: an asyncio API over a compute loop that runs in its own thread."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Self

from disagg_worker.config import EngineConfig
from disagg_worker.engine.types import EngineStats, Prefilled, SamplingParams, TokenOutput
from disagg_worker.kv import BlockPool, KVLayout, KVLease


class Engine:
    """A model, its KV pool and the loop that computes with them.

    Attributes:
        layout: Shape of KV blocks; must equal the peer's before blocks are read from it.
        pool: The KV memory.
        eos_token_ids: Tokens with which the model ends a text.
        on_step: Called from the compute thread after each step with its duration in seconds.
    """

    layout: KVLayout
    pool: BlockPool
    eos_token_ids: frozenset[int]
    on_step: Callable[[float], None] | None

    @classmethod
    def load(cls, config: EngineConfig) -> Self:
        """Read the weights and allocate the pool (seconds; blocking)."""
        raise NotImplementedError

    async def start(self) -> None:
        """Start the compute loop."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End the compute loop after its current step; requests that still run end as cancelled."""
        raise NotImplementedError

    def stats(self) -> EngineStats:
        """Counters and gauges now."""
        raise NotImplementedError

    async def prefill(self, request_id: str, tokens: Sequence[int], sampling: SamplingParams) -> Prefilled:
        """Compute a prompt and keep its KV blocks in a lease."""
        raise NotImplementedError

    async def reserve(self, request_id: str, tokens: int) -> KVLease:
        """Wait, in the order of arrival, for the blocks of `tokens` positions (to read a peer's KV into)."""
        raise NotImplementedError

    def generate(
        self, request_id: str, tokens: Sequence[int], sampling: SamplingParams
    ) -> AsyncIterator[TokenOutput]:
        """Compute a prompt and generate from it in one place."""
        raise NotImplementedError

    def resume(
        self,
        request_id: str,
        tokens: Sequence[int],
        lease: KVLease,
        first_token: int,
        sampling: SamplingParams,
    ) -> AsyncIterator[TokenOutput]:
        """Generate from KV that was computed elsewhere and read into `lease`.

        Yields `first_token` first. Owns the lease from the call on and releases it.
        """
        raise NotImplementedError

    def cancel(self, request_id: str) -> None:
        """End a request as soon as possible; unknown ids are ignored."""
        raise NotImplementedError
