"""What each role does with a request: prefill offers KV, decode reads it, aggregated needs none of that.

A role yields Dynamo's response chunks as dicts. Blocks belong to exactly one of engine, offer and reader at
any time, whatever is cancelled or fails in between.

A prompt whose KV cannot be read, because its prefill worker is gone or cut off, is computed by decode: the
tokens are the same, and no request is lost. It is logged and counted, for it costs decode time.

Decode also computes the prompts that are left to it: short ones, of which prefill says so instead of
computing them, and those that Dynamo's frontend sends to decode at once, since decode has most of their KV or
prefill is busy. Nothing is read for these.
"""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol

from disagg_worker.engine import Engine, TokenOutput
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.serve.request import Generation
from disagg_worker.transfer import NoRoom, Reader, ShapeMismatch, Source, Ticket, TransferError

Chunk = dict[str, Any]
LOCAL: Chunk = {"local": True}
"""What prefill hands to decode in place of a ticket: the prompt is left to it."""
BYPASS = "x-bypass-remote-prefill"
"""Annotation of requests that Dynamo's frontend sends to decode without prefill (Dynamo 1.5 and newer)."""
log = logging.getLogger(__name__)


class Role(Protocol):
    """One of the three ways to serve a request."""

    def serve(self, request_id: str, work: Generation, request: Mapping[str, Any]) -> AsyncIterator[Chunk]:
        """Serve a request: `work` is what to generate, `request` what Dynamo sent."""

    @property
    def idle(self) -> bool:
        """Whether no other worker depends on this one's memory now."""


class Prefill:
    """Computes prompts and offers their KV.

    Args:
        engine: Computes.
        source: Keeps the offers.
        leave_tokens: Longest prompt that is left to decode; 0 leaves it none.
    """

    def __init__(self, engine: Engine, source: Source, leave_tokens: int = 0) -> None:
        self._engine, self._source, self._leave_tokens = engine, source, leave_tokens

    @property
    def idle(self) -> bool:
        """See Role."""
        return self._source.open_offers == 0

    async def serve(
        self, request_id: str, work: Generation, request: Mapping[str, Any]
    ) -> AsyncIterator[Chunk]:
        """Yield one chunk: the first token and the ticket, or that the prompt is left to decode."""
        del request
        if 0 < len(work.tokens) <= self._leave_tokens:
            # Dynamo's frontend takes no answer without a token; it drops this one.
            yield {**_one_token(work, work.tokens[-1]), "disaggregated_params": LOCAL}
            return
        prefilled = await self._engine.prefill(request_id, work.tokens, work.sampling)
        ticket = await self._source.offer(request_id, prefilled)
        delivered = False
        try:
            yield {**_one_token(work, prefilled.first_token), "disaggregated_params": ticket.to_json()}
            delivered = True
        finally:
            if not delivered:
                self._source.withdraw(ticket.lease)


class Decode:
    """Reads a prompt's KV and generates from it.

    Args:
        engine: Computes.
        reader: Reads.
        metrics: Where prompts that were computed here are counted.
    """

    def __init__(self, engine: Engine, reader: Reader, metrics: WorkerMetrics) -> None:
        self._engine, self._reader, self._metrics = engine, reader, metrics

    @property
    def idle(self) -> bool:
        """See Role."""
        return self._reader.quarantined == 0

    async def serve(
        self, request_id: str, work: Generation, request: Mapping[str, Any]
    ) -> AsyncIterator[Chunk]:
        """Yield one token a chunk; the first came with the ticket, if there is one."""
        handed = (request.get("prefill_result") or {}).get("disaggregated_params")
        left_by = _left_by(handed, request)
        if left_by:
            self._metrics.prompts_local.labels(left_by).inc()
            outputs = self._engine.generate(request_id, work.tokens, work.sampling)
        else:
            outputs = await self._outputs(request_id, Ticket.parse(handed), work)
        async for chunk in deltas(outputs, work):
            yield chunk

    async def _outputs(self, request_id: str, ticket: Ticket, work: Generation) -> AsyncIterator[TokenOutput]:
        try:
            lease = await self._reader.read(request_id, ticket, len(work.tokens))
        except (ShapeMismatch, NoRoom):
            raise  # of the user's making, or no better here
        except TransferError as error:
            log.warning("request %s: %s; its prompt is computed here instead", request_id, error)
            self._metrics.prompts_recomputed.labels(error.outcome).inc()
            return self._engine.generate(request_id, work.tokens, work.sampling)
        return self._engine.resume(request_id, work.tokens, lease, ticket.first_token, work.sampling)


class Aggregated:
    """Computes prompt and answer in one place.

    Args:
        engine: Computes.
    """

    idle = True

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def serve(
        self, request_id: str, work: Generation, request: Mapping[str, Any]
    ) -> AsyncIterator[Chunk]:
        """Yield one token a chunk."""
        del request
        async for chunk in deltas(self._engine.generate(request_id, work.tokens, work.sampling), work):
            yield chunk


async def deltas(outputs: AsyncIterator[TokenOutput], work: Generation) -> AsyncIterator[Chunk]:
    """Turn tokens into chunks; the last one carries the finish reason and the counts."""
    generated = 0
    async for output in outputs:
        ids = [] if output.token is None else [output.token]
        generated += len(ids)
        chunk: Chunk = {"token_ids": ids, "index": 0}
        if output.finish_reason is not None:
            chunk |= {"finish_reason": output.finish_reason, "completion_usage": usage(work, generated)}
        yield chunk


def _left_by(handed: Any, request: Mapping[str, Any]) -> str | None:
    """Tell who left a prompt to decode, if anybody did."""
    if handed == LOCAL:
        return "prefill"
    if handed is None and BYPASS in (request.get("annotations") or ()):
        return "frontend"
    return None


def _one_token(work: Generation, token: int) -> Chunk:
    return {"token_ids": [token], "index": 0, "finish_reason": "length", "completion_usage": usage(work, 1)}


def usage(work: Generation, generated: int) -> dict[str, int]:
    """Count tokens as OpenAI's `usage` does."""
    prompt = len(work.tokens)
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated}
