"""Continuous batching: which positions of which requests the next step computes.

Rules, in the order of arrival, so that nothing starves:
- A request is admitted when the batch has room and its blocks are free, with one more for each running
  request so that those can grow. A younger request never overtakes an older one.
- A step computes one position of every request past its prompt, and prompt chunks of the oldest others, up
  to `chunk_tokens`. A prompt is always cut at multiples of `chunk_tokens`, whatever else runs.
- A request that needs a block when none is free takes those of the youngest request that has any. That one
  waits again, computes its prompt in the same chunks, then its generated tokens one by one as before, and so
  gets the same numbers. The youngest may be the asking request itself. Leases that were handed out are never
  taken.
- A prompt whose beginning is in blocks already is computed from there on, from the end of a chunk.
"""

import bisect
from dataclasses import dataclass

from disagg_worker.engine.request import Goal, Request
from disagg_worker.kv import BlockPool, PoolExhausted
from disagg_worker.model.segment import Segment


@dataclass(frozen=True)
class Work:
    """The positions of one request that a step computes."""

    request: Request
    segment: Segment

    @property
    def completes(self) -> bool:
        """Whether all known tokens are computed after it, so that the next one can be chosen."""
        return self.segment.end == len(self.request.tokens)


@dataclass(frozen=True)
class Plan:
    """One step.

    Attributes:
        granted: Reservations that got their blocks.
        decode: One position each.
        prefill: Chunks of prompts.
    """

    granted: list[Request]
    decode: list[Work]
    prefill: list[Work]

    def __bool__(self) -> bool:
        return bool(self.granted or self.decode or self.prefill)


class Scheduler:
    """The queue and the batch. Not thread-safe: one thread owns it.

    Args:
        pool: Where blocks come from.
        max_batch: Requests computed at a time.
        chunk_tokens: Prompt tokens computed in one step.

    Attributes:
        preemptions: Times that a request lost its blocks to another.
        reused_tokens: Prompt tokens that were in blocks already.
    """

    def __init__(self, pool: BlockPool, max_batch: int, chunk_tokens: int) -> None:
        self._pool = pool
        self._max_batch = max_batch
        self._chunk_tokens = chunk_tokens
        self._arrivals = 0
        self.waiting: list[Request] = []
        self.running: list[Request] = []
        self.preemptions = 0
        self.reused_tokens = 0

    def add(self, request: Request) -> None:
        """Queue a new request behind all others."""
        self._arrivals += 1
        request.arrival = self._arrivals
        self.waiting.append(request)

    def forget(self, request: Request) -> None:
        """Drop a request that ended, and release what blocks it still has."""
        for queue in (self.running, self.waiting):
            if request in queue:
                queue.remove(request)
        request.give_up_blocks()

    def plan(self) -> Plan:
        """Decide the next step; an empty plan means that nothing can be computed now."""
        granted = self._admit()
        decode = [request for request in self.running if not request.in_prefill]
        for request in decode:
            if request in self.running:
                self._make_room(request)
        return Plan(granted, [self._work(r) for r in decode if r in self.running], self._prefill_chunks())

    def _work(self, request: Request) -> Work:
        return Work(request, request.next_segment(self._chunk_tokens))

    def _admit(self) -> list[Request]:
        granted = []
        while self.waiting and self._give_blocks(request := self.waiting[0]):
            self.waiting.pop(0)
            if request.goal is Goal.RESERVE:
                granted.append(request)
            else:
                bisect.insort(self.running, request, key=_arrival)
        return granted

    def _give_blocks(self, request: Request) -> bool:
        if request.goal is not Goal.RESERVE and len(self.running) >= self._max_batch:
            return False
        if request.lease is not None:
            return True
        positions = request.positions_to_start
        if self._pool.layout.blocks_for(positions) + len(self.running) > self._pool.free_blocks:
            return False
        try:
            request.lease = self._pool.allocate(positions, request.prefix)
        except PoolExhausted:  # another thread was faster
            return False
        request.computed = request.lease.reused * self._pool.layout.block_tokens
        self.reused_tokens += request.computed
        return True

    def remember(self, request: Request) -> None:
        """Let later prompts with the same beginning share what a request has computed of its own."""
        if request.lease is not None and request.prefix.keys:
            blocks = request.computed // self._pool.layout.block_tokens
            self._pool.remember(request.lease, request.prefix, blocks)

    def _make_room(self, request: Request) -> None:
        """Give a running request the block of its next position, or preempt it."""
        while request.lease is not None:
            try:
                return request.lease.grow(request.computed + 1)
            except PoolExhausted:
                owners = [r for r in (*self.running, *self.waiting) if r.lease is not None]
                self._preempt(max(owners, key=_arrival))
        return None

    def _preempt(self, request: Request) -> None:
        request.give_up_blocks()
        self.preemptions += 1
        if request in self.running:
            self.running.remove(request)
            bisect.insort(self.waiting, request, key=_arrival)

    def _prefill_chunks(self) -> list[Work]:
        chunks: list[Work] = []
        budget = self._chunk_tokens
        for request in self.running:
            if request.in_prefill:
                work = self._work(request)
                budget -= len(work.segment.tokens)
                if budget < 0:
                    break
                chunks.append(work)
        return chunks


def _arrival(request: Request) -> int:
    return request.arrival
