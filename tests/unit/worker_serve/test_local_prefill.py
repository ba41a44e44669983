"""Prompts that are left to decode: who leaves them, and that nothing is read for them."""

from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from disagg_worker.engine import Engine, SamplingParams
from disagg_worker.metrics import WorkerMetrics
from disagg_worker.serve.request import Generation
from disagg_worker.serve.roles import BYPASS, LOCAL, Chunk, Decode, Prefill
from disagg_worker.transfer import Reader, Source, TransferError
from unit.worker_engine.tiny import prompt, tiny_engine

SAMPLING = SamplingParams(max_tokens=5, ignore_eos=True)
NOBODY: Any = None
"""In place of what a prompt that is left to decode must not touch."""


def work(tokens: int) -> Generation:
    return Generation(tuple(prompt(tokens)), SAMPLING)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    engine = tiny_engine()
    await engine.start()
    yield engine
    await engine.stop()


async def decoded(role: Decode, request: dict[str, Any]) -> list[int]:
    return [token async for chunk in role.serve("r", work(20), request) for token in chunk["token_ids"]]


@pytest.mark.parametrize(("tokens", "left"), [(1, True), (20, True), (21, False)])
async def test_prefill_leaves_short_prompts_to_decode(tokens: int, left: bool) -> None:
    computed: list[str] = []

    class Computes:
        async def prefill(self, name: str, *_: object) -> object:
            computed.append(name)
            raise TransferError("enough of the test")

    role = Prefill(cast(Engine, Computes()), cast(Source, NOBODY), leave_tokens=20)
    chunks: list[Chunk] = []
    try:
        async for chunk in role.serve("r", work(tokens), {}):
            chunks.append(chunk)
    except TransferError:
        pass
    assert bool(computed) is not left
    assert [chunk["disaggregated_params"] for chunk in chunks] == ([LOCAL] if left else [])


@pytest.mark.parametrize(
    ("request_", "by"),
    [
        ({"prefill_result": {"disaggregated_params": LOCAL}}, "prefill"),
        ({"annotations": [BYPASS]}, "frontend"),
    ],
)
async def test_decode_computes_what_is_left_to_it_and_counts_it(
    engine: Engine, request_: dict[str, Any], by: str
) -> None:
    metrics = WorkerMetrics()
    role = Decode(engine, cast(Reader, NOBODY), metrics)
    expected = [o.token async for o in engine.generate("alone", work(20).tokens, SAMPLING)]
    assert await decoded(role, request_) == expected
    assert metrics.registry.get_sample_value("disagg_prompts_local_total", {"left_by": by}) == 1


async def test_a_request_without_a_ticket_that_nobody_left_is_refused(engine: Engine) -> None:
    role = Decode(engine, cast(Reader, NOBODY), WorkerMetrics())
    with pytest.raises(TransferError):
        await decoded(role, {})
