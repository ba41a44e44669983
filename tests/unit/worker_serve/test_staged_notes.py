"""Notes are another process's words: whatever they say, neither side fails, and no slot is lost."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_worker.kv.cache import CacheLayout, Share
from disagg_worker.kv.mover import Copied, NumpyMover
from disagg_worker.kv.planner import plan
from disagg_worker.layers import Layers
from disagg_worker.transfer.errors import PeerLost, TransferTimeout
from disagg_worker.transfer.staged import Receiver, Sender, Slots, Store, Wanted
from disagg_worker.transfer.staged import sender as sender_module
from disagg_worker.transfer.staged.cost import ALWAYS_STAGED
from disagg_worker.transfer.staged.notes import (
    Want,
    layout_json,
    parse,
    reader_key,
    target_text,
    want,
    write,
)
from unit.worker_serve.conftest import FakeAgent

LAYOUT = CacheLayout(layers=2, kv_heads=2, head_dim=4, block_tokens=4, dtype="float32", blocks=8)
WHOLE = Share(0, Layers(0, 2), range(2))
WANTED = Wanted("offer", "owner", None, LAYOUT, 4096, [1, 2], 8, WHOLE, 1024)
EARLY = replace(WANTED, ahead={reader_key(target_text(LAYOUT, WHOLE), 1024): 8192})
KINDS = [
    "hello", "want", "taken", "early", "drop", "read", "refuse", "ready", "kept", "busy", "refused", "else",
]  # fmt: skip
words = st.one_of(st.text(max_size=20), st.integers(-2, 10**25).map(str), st.just("offer"), st.just("t"))
texts = st.builds(
    lambda kind, rest: " ".join(["kv1", kind, *rest]).encode(),
    st.sampled_from(KINDS),
    st.lists(words, max_size=5),
)
numbers = st.one_of(st.integers(-3, 5), st.integers(-(10**30), 10**30), st.none(), st.text(max_size=3))
targets = st.builds(
    lambda changes, share: json.dumps([{**layout_json(LAYOUT), **changes}, share]),
    st.dictionaries(st.sampled_from([*layout_json(LAYOUT), "other"]), numbers, max_size=2),
    st.lists(numbers, min_size=3, max_size=5),
)
wants = st.builds(lambda target, size: f"kv1 want t reader offer {size} {target}".encode(), targets, numbers)


def store(agent: FakeAgent) -> Store:
    mover = NumpyMover()
    slots = Slots(mover.allocate(4096), 2)
    return Store(agent, mover.allocate(LAYOUT.nbytes), LAYOUT, mover, slots)


def asked(**changes: Any) -> bytes:
    given = Want("reader", "offer", target_text(LAYOUT, WHOLE), 1024)._replace(**changes)
    return want("t", given)


def hand(side: Sender | Receiver, text: bytes) -> None:
    note = parse(text)
    assert note
    side.take(note)


@settings(max_examples=150)
@given(st.lists(st.one_of(texts, wants), max_size=6))
def test_no_note_makes_an_owner_fail(notes: list[bytes]) -> None:
    agent = FakeAgent()
    owner = Sender(store(agent), 0.0)
    owner.offer("offer", [1, 2], 8)
    for text in [*notes, b"\xff\xfe", asked()]:
        if note := parse(text):
            owner.take(note)
        owner.step()
    owner.shut("offer")
    assert owner.transfers == 0
    assert owner._slots.used == 0


@settings(max_examples=150)
@given(st.lists(texts, max_size=6))
def test_no_note_makes_a_reader_fail(notes: list[bytes]) -> None:
    agent = FakeAgent(done=False)
    reader = Receiver(store(agent), cost=ALWAYS_STAGED)
    arrival = reader.start(WANTED, [3, 4])
    for text in notes:
        if note := parse(text):
            reader.take(note._replace(transfer=arrival.name))
        reader.step()
    assert arrival.told <= set(range(len(arrival.pieces)))
    assert not arrival.done


def test_a_piece_that_is_told_twice_is_read_once() -> None:
    agent = FakeAgent(done=False)
    reader = Receiver(store(agent), cost=ALWAYS_STAGED)
    arrival = reader.start(WANTED, [3, 4])
    for _ in range(2):
        hand(reader, write("ready", arrival.name, 0, 4096))
        reader.step()
    assert len(agent.reads) == 1


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"target": target_text(replace(LAYOUT, dtype="float16"), WHOLE)}, "dtype is float32"),
        ({"target": target_text(LAYOUT, Share(0, Layers(0, 3), range(2)))}, "layers 0 to 2 are to be read"),
        ({"target": target_text(LAYOUT, Share(0, Layers(0, 2), range(1, 3)))}, "heads 1 to 2 are to be read"),
        ({"slot_bytes": 1 << 20}, "slots here have 2048"),
        ({"target": "{}"}, "cannot be read"),
    ],
)
def test_what_an_owner_does_not_have_is_refused(changes: dict[str, Any], told: str) -> None:
    agent = FakeAgent()
    owner = Sender(store(agent))
    owner.offer("offer", [1, 2], 8)
    hand(owner, asked(**changes))
    ((peer, text),) = agent.sent
    assert peer == "reader"
    assert text.startswith(b"kv1 refused t ")
    assert told in text.decode()


def test_a_reader_that_gets_no_slot_is_told_and_reads_without_staging(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sender_module, "BUSY_SECONDS", -1.0)
    agent = FakeAgent(done=False)
    kept = store(agent)
    owner = Sender(kept)
    owner.offer("offer", [1, 2], 8)
    while kept.slots.take() is not None:
        pass  # another reader hangs
    hand(owner, asked())
    owner.step()
    assert agent.sent == [("reader", b"kv1 busy t")]
    reader = Receiver(store(agent), cost=ALWAYS_STAGED)
    arrival = reader.start(WANTED, [3, 4])
    hand(reader, write("busy", arrival.name))
    assert arrival.direct
    ((_, spans, text),) = agent.reads
    assert text == b"kv1 read offer 2"
    assert sum(span.length for span in spans) == arrival.nbytes == 8 * LAYOUT.token_bytes
    agent.done = True
    reader.step()
    assert arrival.done


def test_slots_that_hang_are_no_reason_to_wait() -> None:
    agent = FakeAgent(done=False)
    kept = store(agent)
    reader = Receiver(kept, cost=ALWAYS_STAGED, timeout_seconds=0.0)
    hanging = reader.start(WANTED, [3, 4])
    hand(reader, write("ready", hanging.name, 0, 4096))
    reader.step()
    assert hanging.error
    assert hanging.settled
    assert kept.slots.used == 1
    assert reader.start(WANTED, [3, 4]).direct


def test_what_is_read_through_staging_is_limited_where_asked_for() -> None:
    agent = FakeAgent(done=False)
    reader = Receiver(store(agent), cost=ALWAYS_STAGED, most_bytes_per_second=1.0)
    arrival = reader.start(
        Wanted("offer", "owner", None, LAYOUT, 4096, [*range(8)], 32, WHOLE, 1024), [*range(8)]
    )
    for piece in range(2):
        hand(reader, write("ready", arrival.name, piece, 4096))
    reader.step()
    assert len(agent.reads) == 1
    assert reader._slots.used == 1


def test_what_copies_is_warm_before_anybody_reads_while_the_engine_may_compute_already() -> None:
    """A first request's block was once copied out and back while its tokens were computed into it."""
    owner = store(FakeAgent())
    used: list[tuple[str, int]] = []

    class Watched(NumpyMover):
        def gather(self, region: Any, places: Any, first: int, rows: int, staging: Any) -> Copied:
            over = super().gather(region, places, first, rows, staging)
            used.append(("gather", places.row_bytes))
            owner.region[:] = 7
            return over

        def scatter(self, region: Any, places: Any, first: int, rows: int, staging: Any) -> Copied:
            used.append(("scatter", places.row_bytes))
            return super().scatter(region, places, first, rows, staging)

    replace(owner, mover=Watched()).warm()
    row_bytes = plan(LAYOUT, LAYOUT, [0], [0], tokens=LAYOUT.block_tokens).lanes.row_bytes
    assert used == [("gather", row_bytes), ("scatter", row_bytes)]
    assert (owner.region == 7).all()
    assert owner.slots.used == 0


def ahead_of(owner: Sender) -> dict[str, int]:
    """Let an owner learn what its reader has, and offer something."""
    owner.offer("first", [1, 2], 8)
    first = parse(asked(offer="first"))
    assert first
    owner.take(first._replace(transfer="first"))
    owner.shut("first")
    owner.offer("offer", [1, 2], 8)
    return owner.ahead("offer")


def test_a_read_whose_note_overtakes_what_was_asked_ends_all_the_same() -> None:
    agent = FakeAgent()
    kept = store(agent)
    owner = Sender(kept)
    read = []
    owner.on_read = lambda offer, layers: read.append((offer, layers))
    ((_, address),) = ahead_of(owner).items()
    agent.sent.clear()
    hand(owner, write("early", "t"))
    hand(owner, asked())
    assert agent.sent == [("reader", f"kv1 kept t 0 {address}".encode())]
    assert read == [("offer", 2)]
    assert kept.slots.used == owner.transfers == 0


def test_the_note_of_a_read_of_what_was_not_kept_frees_nothing() -> None:
    agent = FakeAgent()
    kept = store(agent)
    owner = Sender(kept)
    owner.offer("offer", [1, 2], 8)
    hand(owner, asked())
    owner.step()
    hand(owner, write("early", "t"))
    assert (owner.transfers, kept.slots.used) == (1, 1)


def reading_early(agent: FakeAgent, kept: Store) -> tuple[Receiver, Any]:
    reader = Receiver(kept, cost=ALWAYS_STAGED)
    arrival = reader.start(EARLY, [3, 4])
    ((_, (span,), text),) = agent.reads
    assert (span.remote, text) == (8192, f"kv1 early {arrival.name}".encode())
    return reader, arrival


def test_what_was_read_early_counts_once_the_owner_has_kept_it() -> None:
    agent = FakeAgent()
    kept = store(agent)
    reader, arrival = reading_early(agent, kept)
    for _ in range(5):
        reader.step()
    assert not arrival.scattering
    hand(reader, write("kept", arrival.name, 0, 8192))
    for _ in range(5):
        reader.step()
    assert arrival.done
    assert (len(agent.reads), kept.slots.used) == (1, 0)


def test_what_was_read_early_and_not_kept_is_read_again() -> None:
    agent = FakeAgent(done=False)
    kept = store(agent)
    reader, arrival = reading_early(agent, kept)
    hand(reader, write("ready", arrival.name, 0, 8192))  # the same slot, which had another's bytes meanwhile
    for _ in range(5):
        reader.step()
    assert [text for _, _, text in agent.reads][1:] == [f"kv1 taken {arrival.name} 0".encode()]
    agent.done = True
    for _ in range(5):
        reader.step()
    assert arrival.done
    assert kept.slots.used == 0


def test_an_owner_that_is_busy_is_read_without_staging_after_an_early_read() -> None:
    agent = FakeAgent(done=False)
    kept = store(agent)
    reader, arrival = reading_early(agent, kept)
    hand(reader, write("busy", arrival.name))
    assert arrival.direct
    agent.done = True
    for _ in range(5):
        reader.step()
    assert arrival.done
    assert arrival.settled
    assert kept.slots.used == 0


def test_an_owner_that_cannot_be_asked_keeps_the_slot_of_an_early_read_until_that_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    agent = FakeAgent(done=False)
    kept = store(agent)

    def lost(peer: str, note: bytes) -> None:
        raise PeerLost(f"{peer} does not hear {note!r}")

    monkeypatch.setattr(agent, "notify", lost)
    reader = Receiver(kept, cost=ALWAYS_STAGED)
    with pytest.raises(PeerLost):
        reader.start(EARLY, [3, 4])
    reader.step()
    assert (reader.transfers, kept.slots.used) == (1, 1)
    agent.done = True
    reader.step()
    reader.step()
    assert (reader.transfers, kept.slots.used) == (0, 0)


def test_an_owner_that_hangs_gets_no_second_slot_before_it_answers() -> None:
    agent = FakeAgent(done=False)
    kept = replace(store(agent), slots=Slots(NumpyMover().allocate(6144), 3))
    reader, arrival = reading_early(agent, kept)
    reader.abandon(arrival, TransferTimeout("too late"))
    reader.step()
    reader.start(arrival.wanted, [5, 6])
    assert (len(agent.reads), kept.slots.used) == (1, 1)
    agent.done = True
    reader.step()
    reader.start(arrival.wanted, [5, 6])
    assert len(agent.reads) == 2
