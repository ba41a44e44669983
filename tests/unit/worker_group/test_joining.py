"""How ranks find each other, on loopback: all or nobody, and who is missing is named."""

import socket
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from disagg_worker.errors import ConfigError
from disagg_worker.group import wire
from disagg_worker.group.joining import Hello, Member, gather, join
from disagg_worker.group.membership import Membership, membership
from disagg_worker.layers import Place


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def member(port: int, rank: int, ranks: int = 3, wait: float = 60.0) -> Membership:
    return Membership(Place(rank, ranks), "localhost", port, wait)


def hello(rank: int, ranks: int = 3, group: str = "same") -> Hello:
    return Hello(rank=rank, ranks=ranks, group=group, call="", line="control", digests=(f"of rank {rank}",))


def test_all_ranks_come_together_in_any_order() -> None:
    port = free_port()
    with ThreadPoolExecutor(3) as pool:
        followers = [pool.submit(join, member(port, rank), hello(rank)) for rank in (2, 1)]
        with socket.socket() as stray:
            members: Future[list[Member]] = pool.submit(gather, member(port, 0), "same")
            while stray.connect_ex(("127.0.0.1", port)):
                pass
            stray.sendall(b"GET / HTTP/1.1\r\n\r\n")
            found = members.result(60)
    assert [each.hello.digests for each in found] == [("of rank 1",), ("of rank 2",)]
    lines = [follower.result(60) for follower in followers]
    for each, theirs in zip(reversed(found), lines, strict=True):
        for use, line in theirs.items():
            wire.send(line, use.encode())
            assert wire.receive(each.lines[use]) == (use.encode(), None)
            line.close()
        each.close()


def test_the_leader_names_who_is_missing() -> None:
    port = free_port()
    leader = Membership(Place(0, 3), "demo-decode-1a-0-0.no-such-service.invalid", port, 1.0)
    with pytest.raises(ConfigError) as told:
        gather(leader, "same")
    text = str(told.value)
    assert "this model instance is on 3 nodes, and after 1 s these have not joined" in text
    assert "rank 1 (demo-decode-1a-0-1.no-such-service.invalid: its name does not resolve)" in text
    assert "rank 2 (demo-decode-1a-0-2.no-such-service.invalid" in text


def test_a_follower_names_the_leader_that_it_waited_for() -> None:
    with pytest.raises(ConfigError, match=r"rank 1 of 3 found no leader after 0\.2 s: localhost on port"):
        join(member(free_port(), 1, wait=0.2), hello(1))
    nowhere = Membership(Place(1, 2), "nowhere.invalid", 1, 0.1)
    with pytest.raises(ConfigError, match="its name does not resolve"):
        join(nowhere, hello(1, 2))


@pytest.mark.parametrize(
    ("caller", "fault"),
    [
        (hello(1, group="other"), "rank 1 has another role or configuration than its leader"),
        (hello(1, ranks=2), "rank 1 of 2 called the leader of 3 ranks"),
        (hello(3), "rank 3 of 3 called"),
    ],
)
def test_who_does_not_belong_is_told_so(caller: Hello, fault: str) -> None:
    port = free_port()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(gather, member(port, 0, wait=3.0), "same")
        with pytest.raises(ConfigError, match=fault):
            join(member(port, caller.rank, caller.ranks), caller)
        with pytest.raises(ConfigError, match="have not joined"):
            leader.result(60)


def test_a_rank_that_calls_again_replaces_its_former_self() -> None:
    port = free_port()
    with ThreadPoolExecutor(2) as pool:
        members: Future[list[Member]] = pool.submit(gather, member(port, 0, 2), "same")
        dead = socket.socket()
        while dead.connect_ex(("127.0.0.1", port)):
            dead.close()
            dead = socket.socket()
        wire.send(dead, hello(1, 2).model_copy(update={"call": "former"}).model_dump_json().encode())
        dead.close()
        lines = join(member(port, 1, 2), hello(1, 2))
        (found,) = members.result(60)
    assert found.hello.call != "former"
    wire.send(lines["compute"], b"alive")
    assert wire.receive(found.lines["compute"])[0] == b"alive"
    found.close()
    for line in lines.values():
        line.close()


def test_membership_is_checked() -> None:
    assert membership(0, 1, "", 9092, 1.0) is None
    with pytest.raises(ConfigError, match="--node-rank: there is no rank 2 of 2; write one from 0 to 1"):
        membership(2, 2, "leader", 9092, 1.0)
    with pytest.raises(ConfigError, match="--leader: is required"):
        membership(1, 2, "", 9092, 1.0)
    found = membership(1, 2, "demo-prefill-ab12-3-0.demo-prefill-ab12-all", 9092, 1.0)
    assert found is not None
    assert found.host(1) == "demo-prefill-ab12-3-1.demo-prefill-ab12-all"
