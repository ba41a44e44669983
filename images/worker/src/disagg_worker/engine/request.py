"""One request on its way through the engine: its tokens, how many are computed, and its blocks."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from disagg_worker.engine.step import Pick
from disagg_worker.engine.types import FinishReason, Prefilled, SamplingParams, TokenOutput
from disagg_worker.kv import NO_PREFIX, KVLease, Prefix
from disagg_worker.model.segment import Segment

Event = TokenOutput | Prefilled | KVLease | Exception


class Goal(Enum):
    """What a request wants."""

    PREFILL = "prefill"
    GENERATE = "generate"
    RESERVE = "reserve"


@dataclass(eq=False)
class Request:
    """State of one request; only the compute thread changes it after it was submitted.

    Attributes:
        id: Name given by the caller.
        goal: What ends it.
        tokens: The prompt and the tokens generated so far.
        prompt_length: How many of `tokens` are the prompt.
        limit: Length of `tokens` at which generation ends.
        params: Sampling.
        seed: Of the draws.
        eos: Tokens with which the model ends a text.
        receive: Takes what comes out, in the event loop's thread.
        prefix: What of the prompt may share blocks with other requests.
        arrival: Rank among all requests; lower was first.
        lease: Its blocks, None while it waits for some.
        computed: Positions whose K and V are in the blocks.
    """

    id: str
    goal: Goal
    tokens: list[int]
    prompt_length: int
    limit: int
    params: SamplingParams
    seed: int
    eos: frozenset[int]
    receive: Callable[[Event], None] = lambda _: None
    prefix: Prefix = NO_PREFIX
    arrival: int = 0
    lease: KVLease | None = None
    computed: int = 0

    @property
    def generated(self) -> int:
        """Tokens generated so far."""
        return len(self.tokens) - self.prompt_length

    @property
    def in_prefill(self) -> bool:
        """Whether some of the prompt is still to be computed."""
        return self.computed < self.prompt_length

    @property
    def positions_to_start(self) -> int:
        """Positions to allocate before computing: what is known, and one step more where there is one."""
        if self.goal is not Goal.GENERATE:
            return self.prompt_length
        return max(self.prompt_length, min(len(self.tokens) + 1, self.limit - 1))

    def next_segment(self, chunk_tokens: int) -> Segment:
        """The positions to compute next: a chunk of the prompt, or one position after it."""
        if self.lease is None:
            raise RuntimeError(f"request {self.id} is scheduled without blocks")
        end = min(self.computed + chunk_tokens, self.prompt_length) if self.in_prefill else self.computed + 1
        return Segment(self.tokens[self.computed : end], self.computed, self.lease.blocks)

    def pick(self, row: int) -> Pick:
        """How the next token is chosen from a row of hidden states."""
        banned = self._ends() if self.generated < self.params.min_tokens else frozenset()
        return Pick(row, self.params, (self.seed, self.generated), banned)

    def finish_reason(self) -> FinishReason | None:
        """Why generation ends with the last token, or None when it goes on."""
        if self.tokens[-1] in self._ends() and self.generated >= self.params.min_tokens:
            return "stop"
        return "length" if len(self.tokens) >= self.limit else None

    def _ends(self) -> frozenset[int]:
        stops = self.params.stop_token_ids
        return stops if self.params.ignore_eos else stops | self.eos

    def give_up_blocks(self) -> None:
        """Release the lease, if there is one; what was computed is lost."""
        if self.lease is not None:
            self.lease.release()
            self.lease = None
        self.computed = 0
