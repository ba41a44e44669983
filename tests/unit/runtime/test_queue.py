"""The work queue, by a clock of its own."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.runtime.queue import WorkQueue
from unit.runtime.fast_loop import now, run


def queue_of(base: float = 0.5, longest: float = 300.0) -> WorkQueue[str]:
    return WorkQueue(base=base, longest=longest, jitter=lambda: 0.0)


def test_a_key_waits_once() -> None:
    async def main() -> None:
        queue = queue_of()
        for key in "abaab":
            queue.add(key)
        assert len(queue) == 2
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    run(main())


def test_a_key_added_while_processed_comes_once_more_and_not_before() -> None:
    async def main() -> None:
        queue = queue_of()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 60)
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0

    run(main())


def test_what_waits_and_what_is_processed_is_unfinished() -> None:
    async def main() -> None:
        queue = queue_of()
        for key in "ab":
            queue.add(key)
        await queue.get()
        assert (len(queue), queue.unfinished) == (1, 2)
        queue.done("a")
        assert queue.unfinished == 1

    run(main())


def test_the_earliest_delay_counts() -> None:
    async def main() -> None:
        queue = queue_of()
        queue.add_after("a", 30)
        queue.add_after("a", 10)
        queue.add_after("a", 20)
        assert await queue.get() == "a"
        assert now() == pytest.approx(10)
        queue.done("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 60)

    run(main())


def test_an_add_replaces_a_delay() -> None:
    async def main() -> None:
        queue = queue_of()
        queue.add_after("a", 30)
        queue.add("a")
        assert await queue.get() == "a"
        assert now() == 0
        queue.done("a")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(queue.get(), 60)

    run(main())


def test_failures_grow_the_interval_until_forgotten() -> None:
    async def main() -> list[float]:
        queue = queue_of(base=1.0, longest=10.0)
        delays = [queue.retry("a") for _ in range(6)]
        queue.forget("a")
        delays += [queue.retry("a"), queue.retry("b", at_least=7.0)]
        queue.close()
        return delays

    assert run(main()) == [1, 2, 4, 8, 10, 10, 1, 7]


def test_jitter_only_stretches() -> None:
    async def main() -> float:
        queue: WorkQueue[str] = WorkQueue(base=1.0, jitter=lambda: 0.999)
        delay = queue.retry("a")
        queue.close()
        return delay

    assert 1.0 < run(main()) < 1.5


def test_the_time_that_a_key_waited_is_told() -> None:
    waited: list[float] = []

    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(waited=waited.append)
        queue.add("a")
        await asyncio.sleep(3)
        await queue.get()

    run(main())
    assert waited == [pytest.approx(3)]


@given(st.lists(st.tuples(st.floats(0, 20), st.sampled_from("abc"))), st.floats(0.1, 5), st.integers(1, 4))
def test_no_key_twice_at_once_and_none_forgotten(
    adds: list[tuple[float, str]], work: float, workers: int
) -> None:
    """Whenever keys are added: one worker a key, and each add is followed by a processing."""
    starts: dict[str, list[float]] = {key: [] for key in "abc"}
    busy: set[str] = set()

    async def worker(queue: WorkQueue[str]) -> None:
        while True:
            key = await queue.get()
            assert key not in busy
            busy.add(key)
            starts[key].append(now())
            await asyncio.sleep(work)
            busy.remove(key)
            queue.done(key)

    async def main() -> None:
        queue = queue_of()
        for delay, key in adds:
            asyncio.get_running_loop().call_later(delay, queue.add, key)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(worker(queue)) for _ in range(workers)]
            await asyncio.sleep(30 + work * (len(adds) + 1))
            for task in tasks:
                task.cancel()

    run(main())
    for delay, key in adds:
        assert any(start >= delay - 1e-6 for start in starts[key])
    for key, times in starts.items():
        assert len(times) <= sum(1 for _, added in adds if added == key)
