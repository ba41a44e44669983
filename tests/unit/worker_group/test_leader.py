"""The leader's view of the other ranks, over real sockets."""

import asyncio
import socket
from collections.abc import Iterator

import numpy as np
import pytest

from disagg_worker.engine.step import Pass
from disagg_worker.group import wire
from disagg_worker.group.joining import Hello, Member
from disagg_worker.group.leader import Leader, RankLost
from disagg_worker.group.membership import Membership
from disagg_worker.layers import Place

STEP = Pass(prompt=False, segments=(), picks=())
Lines = dict[str, socket.socket]


@pytest.fixture
def lines() -> Iterator[tuple[Lines, Lines]]:
    """Both ends of a rank's two connections: the leader's and its own."""
    pairs = {use: socket.socketpair() for use in ("control", "compute")}
    yield {use: near for use, (near, _) in pairs.items()}, {use: far for use, (_, far) in pairs.items()}
    for near, far in pairs.values():
        near.close()
        far.close()


def leader_of(lines: Lines, step_seconds: float) -> Leader:
    hello = Hello(rank=1, ranks=2, group="same", call="", line="control")
    return Leader(Membership(Place(0, 2), "demo-0.svc", 1, 1.0), [Member(hello, lines)], step_seconds)


async def test_a_rank_that_hangs_in_a_step_is_lost_though_its_connections_stand(
    lines: tuple[Lines, Lines],
) -> None:
    near, _ = lines
    leader, lost = leader_of(near, 0.3), asyncio.Queue[str]()
    leader.on_lost = lost.put_nowait
    await leader.start()
    (stage,) = leader.followers.stages
    with pytest.raises(RankLost, match="hangs"):
        await asyncio.to_thread(stage.run, STEP, None)
    sentence = await asyncio.wait_for(lost.get(), 20)
    assert sentence == "rank 1 (demo-1.svc) hangs: no part of a step in 0.3 s (compute.step_seconds)"
    await leader.close()
    assert lost.empty(), "it is told once"


async def test_a_rank_that_waits_for_work_does_not_hang(lines: tuple[Lines, Lines]) -> None:
    near, far = lines
    leader, lost = leader_of(near, 0.3), asyncio.Queue[str]()
    leader.on_lost = lost.put_nowait
    await leader.start()
    await asyncio.sleep(0.7)
    (stage,) = leader.followers.stages
    step = asyncio.create_task(asyncio.to_thread(stage.run, STEP, None))
    await asyncio.to_thread(wire.receive, far["compute"])
    wire.send(far["compute"], b"", np.array([7], dtype=np.int64))
    assert (await step).tolist() == [7]
    assert lost.empty()
    await leader.close()
