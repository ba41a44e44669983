"""Logs of pods that come and go, followed on a SIMULATED cluster."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress

import pytest

from disagg_operator.cli.live import following
from disagg_operator.cli.live.following import Audience, Wish, read
from disagg_operator.cli.live.pod_logs import Extent
from disagg_operator.cli.place import Place
from disagg_operator.cli.terminal import UserError
from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.reconcile.kinds import Kind, Object
from unit.cli.fake_cluster import FakeCluster, deployment

BUSY = 429
LONG = 30.0
GONE = NotFoundError(404, "NotFound", "pods not found")


def pod(name: str) -> Object:
    return {"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [{"name": "worker"}]}}


def line(second: int, text: str) -> str:
    return f"2026-11-26T12:00:{second:02}.000000000Z {text}\n"


class Logs(FakeCluster):
    """Answers each request for a log with the next that is scripted, and with the last from then on."""

    def __init__(self, *answers: str | ClusterError) -> None:
        """Make a cluster with one pod.

        Args:
            answers: lines with their stamps, or why there are none.
        """
        super().__init__(deployment())
        self.children = [pod("p-0")]
        self.asked: list[Mapping[str, str]] = []
        self._scripted = list(answers)

    @asynccontextmanager
    async def opened(
        self, verb: str, resource: str, path: str, *, query: Mapping[str, str], **_: object
    ) -> AsyncGenerator[AsyncIterator[bytes]]:
        assert (verb, resource, path) == ("get", "pods/log", "/api/v1/namespaces/models/pods/p-0/log")
        self.asked.append(query)
        answer = self._scripted.pop(0) if len(self._scripted) > 1 else self._scripted[0]
        if isinstance(answer, ClusterError):
            raise answer

        async def chunks() -> AsyncIterator[bytes]:
            yield answer.encode()

        yield chunks()


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_LOOK_SECONDS", 0.01)


async def follow(cluster: Logs, until: Callable[[], object], audience: Audience) -> None:
    """Follow the logs until something is so."""
    async with cluster.connect(Place()) as connection:
        work = asyncio.create_task(read(connection, Wish("llama", "", "", Extent(follow=True)), audience))
        async with asyncio.timeout(LONG):
            while not until() and not work.done():  # noqa: ASYNC110 - the fake has no event to wait for
                await asyncio.sleep(0.01)
        work.cancel()
        with suppress(asyncio.CancelledError):
            await work


def hearing() -> tuple[list[str], list[str], Audience]:
    """Return what an audience is told, what it is warned of, and the audience."""
    told: list[str] = []
    warned: list[str] = []
    return told, warned, Audience(lambda _, text: told.append(text), warned.append)


async def test_a_pod_that_was_gone_and_is_there_again_is_followed_on() -> None:
    cluster = Logs(line(1, "a"), GONE, GONE, line(1, "a") + line(2, "b"), line(2, "b"))
    told, warned, audience = hearing()
    await follow(cluster, lambda: len(cluster.asked) >= 6, audience)
    assert (told, warned) == (["a", "b"], [])


async def test_whoever_hears_no_more_ends_it() -> None:
    def closed(_: str, __: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    cluster = Logs(line(1, "a"))
    with pytest.raises(BrokenPipeError):
        await follow(cluster, lambda: False, Audience(closed, print))


async def test_the_same_trouble_is_told_once_though_its_seconds_count_down() -> None:
    busy = [
        ClusterError(BUSY, "TooManyRequests", f"the API server is busy for another {left} s", left)
        for left in (2.5, 1.5, 0.5)
    ]
    cluster = Logs(*busy, line(1, "a"), busy[0], line(2, "b"))
    told, warned, audience = hearing()
    await follow(cluster, lambda: "b" in told, audience)
    assert told == ["a", "b"]
    first, second = warned
    assert first == second
    assert "busy for another 2.5 s" in first


async def test_pods_that_cannot_be_listed_are_told_once() -> None:
    cluster = Logs(line(1, "a"))
    told, warned, audience = hearing()
    listed = 0

    def check(verb: str, _: Kind) -> None:
        nonlocal listed
        if verb == "list":
            listed += 1
            if listed > 1:
                raise ClusterError(BUSY, "TooManyRequests", f"busy for {10 / listed:.2f} s")

    cluster._check = check  # type: ignore[method-assign, assignment]
    await follow(cluster, lambda: listed > 4, audience)
    assert told == ["a"]
    (warning,) = warned
    assert "busy for 5.00 s" in warning


async def test_what_to_do_next_names_the_namespace() -> None:
    cluster = Logs(ClusterError(500, "InternalError", "the node is away"))
    _, warned, audience = hearing()
    async with cluster.connect(Place()) as connection:
        with pytest.raises(UserError, match="`kubectl disagg status llama --namespace models`"):
            await read(connection, Wish("llama", "", "", Extent()), audience)
        cluster.children = []
        with pytest.raises(UserError, match="no pod: `kubectl disagg status llama --namespace models`"):
            await read(connection, Wish("llama", "", "", Extent()), audience)
    assert len(warned) == 1


async def test_where_no_log_is_there_the_container_that_fails_first_is_named() -> None:
    cluster = Logs(ClusterError(400, "BadRequest", "container worker is waiting to start: PodInitializing"))
    ended = {"terminated": {"exitCode": 1}}
    cluster.children[0]["status"] = {
        "initContainerStatuses": [{"name": "preflight", "ready": False, "lastState": ended}]
    }
    _, _, audience = hearing()
    async with cluster.connect(Place()) as connection:
        with pytest.raises(UserError) as found:
            await read(connection, Wish("llama", "", "", Extent()), audience)
        assert "`kubectl disagg logs llama --container preflight --namespace models`" in str(found.value)
        cluster.children[0]["status"]["initContainerStatuses"][0]["ready"] = True
        with pytest.raises(UserError, match="kubectl disagg status llama --namespace models"):
            await read(connection, Wish("llama", "", "", Extent()), audience)
