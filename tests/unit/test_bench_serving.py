"""The worker of `make bench-serving` treats roles as the worker of the image does."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from bench.serving.serving_worker import answer
from disagg_worker.serve.request import Generation


class _Prefill:
    """Notes whether somebody took the chunk with its ticket; else it would withdraw the offer."""

    idle = True
    delivered = False

    async def serve(
        self, request_id: str, work: Generation, request: Mapping[str, Any]
    ) -> AsyncIterator[dict[str, Any]]:
        del work, request
        yield {"token_ids": [5], "disaggregated_params": {"of": request_id}}
        self.delivered = True


def test_a_ticket_is_taken_so_that_its_offer_stands() -> None:
    role = _Prefill()
    told = asyncio.run(answer(role, {"id": "r1", "tokens": [1, 2], "answer": 4}))
    assert told["ticket"] == {"of": "r1"}
    assert role.delivered
