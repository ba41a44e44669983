"""The operator's measurement of real workers: Dynamo's frontend, two engines, two agents, NIXL over UCX/tcp.

All of them are processes of one host, so that KV cache loops within it and no interface counts it: what is
left is the engine's own account, and the confidence says so. Between pods interfaces count it as well, which
the end-to-end tests show.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from disagg_operator.api.transport import Promise, Transport
from integration.worker.measurement import agents_of, measured_once, verified
from integration.worker.stack import Stack

pytestmark = pytest.mark.timeout(400)
SHORT = 100
"""Prompts of so many tokens are left to decode."""
BLOCK_TOKENS, BLOCK_BYTES = 16, 16 * 30 * 2 * 3 * 64 * 4


@pytest.fixture(scope="module")
def serving(stack: Stack, engine_yaml: Callable[..., Path]) -> Stack:
    sections = {"transfer": {"timeout_seconds": 20}, "kv_cache": {"memory_mib": 256}}
    stack.start_frontend()
    short = {"max_prompt_tokens": SHORT}
    stack.start_worker("prefill", "prefill", engine_yaml(**sections, local_prefill=short))
    stack.start_worker("decode", "decode", engine_yaml(**sections))
    stack.wait_ready()
    return stack


@pytest.fixture(scope="module")
def agents(serving: Stack, model_dir: Path) -> Iterator[dict[str, int]]:
    """Ports of the agents beside the workers, by role."""
    with agents_of(serving, model_dir) as ports:
        yield ports


async def test_the_reference_engine_over_tcp_is_proven_with_its_bytes(
    serving: Stack, agents: dict[str, int]
) -> None:
    result = await verified(serving, agents, Promise(frozenset({Transport.UCX_TCP})), 1000)
    assert (result.verified, result.reason, result.label) == ("True", "AsPromised", "NIXL/UCX tcp"), result
    assert "UCX over tcp" in result.message
    assert result.confidence == "Medium"
    assert result.expected_bytes is not None
    assert result.expected_bytes % (BLOCK_BYTES // BLOCK_TOKENS) == 0
    tokens = result.expected_bytes * BLOCK_TOKENS // BLOCK_BYTES
    assert tokens == pytest.approx(1000, rel=0.1)
    assert result.bytes == -(-tokens // BLOCK_TOKENS) * BLOCK_BYTES
    assert result.bytes == pytest.approx(result.expected_bytes, rel=0.02)


async def test_it_is_not_what_a_fabric_promises(serving: Stack, agents: dict[str, int]) -> None:
    result = await verified(serving, agents, Promise(frozenset({Transport.UCX_SRD}), devices=4, gpus=4), 1000)
    assert (result.verified, result.reason) == ("False", "WorseTransport")
    assert "UCX over tcp, but the platform promises UCX over srd" in result.message


async def test_a_canary_that_is_left_to_decode_proves_nothing_and_a_longer_one_does(
    serving: Stack, agents: dict[str, int]
) -> None:
    promise = Promise(frozenset({Transport.UCX_TCP}))
    left = await measured_once(serving, agents, promise, SHORT // 2)
    assert left.verdict.verified == "Unknown", left.verdict
    assert serving.metric("decode", "disagg_prompts_local_total") == 2
    moved = await measured_once(serving, agents, promise, SHORT + 1)
    assert moved.verdict.verified == "True", moved.verdict
