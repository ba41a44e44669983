"""Leader election against a FAKE Lease on a network that loses, delays and duplicates."""

# ruff: noqa: ARG002, S311 - a fake takes the arguments of the real one; its chance is no secret
import asyncio
import copy
import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_operator.reconcile.errors import ClusterError, NotFoundError
from disagg_operator.reconcile.kinds import Kind, Object
from disagg_operator.runtime.leader import DURATION_SECONDS, Elector, LeaseLostError
from unit.runtime.fast_loop import now, run


@dataclass
class FakeLease:
    """One Lease with resource versions."""

    lease: Object | None = None
    version: int = 0
    requests: int = 0

    def write(self, obj: Object, creating: bool) -> Object:
        if creating and self.lease is not None:
            raise ClusterError(409, "AlreadyExists", "it exists")
        if not creating:
            assert self.lease is not None
            if obj["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise ClusterError(409, "Conflict", "it changed")
        self.version += 1
        self.lease = copy.deepcopy(obj)
        self.lease["metadata"]["resourceVersion"] = str(self.version)
        return copy.deepcopy(self.lease)


@dataclass
class FakeNetwork:
    """One candidate's way to the Lease: slow, lossy, and at times losing the answer alone."""

    store: FakeLease
    chance: random.Random = field(default_factory=lambda: random.Random(0))
    slowest: float = 0.0
    losses: float = 0.0
    dead: int = 0
    """How many of the next requests come to nothing, and are never answered."""

    async def _travel(self) -> None:
        if self.dead:
            self.dead -= 1
            await asyncio.sleep(1e6)
        await asyncio.sleep(self.chance.uniform(0, self.slowest))
        if self.chance.random() < self.losses:
            raise ClusterError(0, "Lost", "no answer")

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        self.store.requests += 1
        await self._travel()
        if self.store.lease is None:
            raise NotFoundError(404, "NotFound", "no lease")
        answer = copy.deepcopy(self.store.lease)
        await self._travel()
        return answer

    async def create(self, kind: Kind, obj: Object) -> Object:
        return await self._write(obj, creating=True)

    async def update(self, kind: Kind, obj: Object) -> Object:
        return await self._write(obj, creating=False)

    async def _write(self, obj: Object, *, creating: bool) -> Object:
        self.store.requests += 1
        obj = copy.deepcopy(obj)
        # Once sent, a request may arrive long after its sender gave up on it.
        arriving = asyncio.ensure_future(self._arrive(obj, creating))
        answer = await asyncio.shield(arriving)
        await self._travel()
        return answer

    async def _arrive(self, obj: Object, creating: bool) -> Object:
        await self._travel()
        return self.store.write(obj, creating)


def elector(name: str, network: FakeNetwork) -> Elector:
    return Elector(network, "ns", "lease", name)


def test_the_first_takes_it_and_the_second_stands_by() -> None:
    async def main() -> None:
        store, told = FakeLease(), list[str]()
        first, second = elector("a", FakeNetwork(store)), elector("b", FakeNetwork(store))
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.acquire(told.append), 3600)
        first.check()
        with pytest.raises(LeaseLostError):
            second.check()
        assert told == ["a"]
        holding.cancel()

    run(main())


def test_a_released_lease_is_taken_over_at_once() -> None:
    async def main() -> None:
        store = FakeLease()
        first, second = elector("a", FakeNetwork(store)), elector("b", FakeNetwork(store))
        await first.acquire()
        await first.release()
        with pytest.raises(LeaseLostError):
            first.check()
        began = now()
        await second.acquire()
        assert now() - began < 1
        assert store.lease
        assert store.lease["spec"]["holderIdentity"] == "b"

    run(main())


def test_a_dead_holder_is_waited_for_and_no_longer() -> None:
    async def main() -> None:
        store = FakeLease()
        await elector("a", FakeNetwork(store)).acquire()
        await elector("b", FakeNetwork(store)).acquire()
        assert DURATION_SECONDS < now() < DURATION_SECONDS + 5

    run(main())


def test_a_restart_under_the_same_name_goes_on_at_once() -> None:
    async def main() -> None:
        store = FakeLease()
        await elector("a", FakeNetwork(store)).acquire()
        await elector("a", FakeNetwork(store)).acquire()
        assert now() == 0

    run(main())


def test_a_holder_that_is_cut_off_stops_before_another_begins() -> None:
    async def main() -> None:
        store = FakeLease()
        network = FakeNetwork(store)
        first, second = elector("a", network), elector("b", FakeNetwork(store))
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        await asyncio.sleep(20)
        network.losses = 1.0
        taking = asyncio.create_task(second.acquire())
        with pytest.raises(LeaseLostError):
            await holding
        assert not taking.done()
        await taking
        second.check()

    run(main())


def test_a_holder_that_was_overthrown_notices() -> None:
    async def main() -> None:
        store = FakeLease()
        first = elector("a", FakeNetwork(store))
        await first.acquire()
        assert store.lease
        store.lease["spec"]["holderIdentity"] = "usurper"
        with pytest.raises(LeaseLostError, match="usurper"):
            await first.hold()
        with pytest.raises(LeaseLostError):
            first.check()

    run(main())


def test_a_request_that_is_never_answered_costs_no_lease() -> None:
    """A connection may go dead without a word; another one is there in time."""

    async def main() -> None:
        store = FakeLease()
        network = FakeNetwork(store)
        first = elector("a", network)
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        for _ in range(10):
            network.dead = 1
            await asyncio.sleep(13)
            assert network.dead == 0
            first.check()
        holding.cancel()

    run(main())


def test_a_release_that_is_never_answered_holds_nobody_up() -> None:
    async def main() -> None:
        network = FakeNetwork(FakeLease())
        first = elector("a", network)
        await first.acquire()
        network.dead = 1
        began = now()
        await first.release()
        assert now() - began < 5

    run(main())


def test_a_write_is_told_when_it_must_be_over() -> None:
    async def main() -> None:
        first = elector("a", FakeNetwork(FakeLease()))
        await first.acquire()
        assert first.check() == DURATION_SECONDS
        await asyncio.sleep(9)
        assert first.check() == DURATION_SECONDS - 9
        await asyncio.sleep(1)
        with pytest.raises(LeaseLostError):
            first.check()

    run(main())


def test_a_standby_costs_few_requests() -> None:
    async def main() -> int:
        store = FakeLease()
        first, second = elector("a", FakeNetwork(store)), elector("b", FakeNetwork(store))
        await first.acquire()
        holding = asyncio.create_task(first.hold())
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(second.acquire(), 600)
        holding.cancel()
        return store.requests

    assert run(main()) < 600 * (2 / 4 + 1 / 1.6) + 10


@given(st.integers(0, 2**32), st.floats(0, 8), st.floats(0, 0.6), st.integers(2, 4))
@settings(max_examples=60)
def test_two_never_lead_at_once(seed: int, slowest: float, losses: float, candidates: int) -> None:
    """Whatever the network does, and though requests arrive after their sender gave up on them."""

    async def candidate(own: Elector) -> None:
        while True:
            await own.acquire()
            with pytest.raises(LeaseLostError):
                await own.hold()

    def leads(own: Elector) -> bool:
        try:
            own.check()
        except LeaseLostError:
            return False
        return True

    async def main() -> int:
        store = FakeLease()
        electors = [
            elector(name, FakeNetwork(store, random.Random(f"{seed}{name}"), slowest, losses))
            for name in "abcd"[:candidates]
        ]
        tasks = [asyncio.create_task(candidate(own)) for own in electors]
        led = 0
        for _ in range(1200):
            await asyncio.sleep(0.25)
            leaders = [own.identity for own in electors if leads(own)]
            assert len(leaders) <= 1, leaders
            led += len(leaders)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # Writes that are still on their way end with the network.
        await asyncio.sleep(slowest + 1)
        return led

    led = run(main())
    if losses < 0.1 and slowest < 1:
        assert led > 900, "most of the time somebody leads"
