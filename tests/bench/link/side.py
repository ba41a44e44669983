"""One side of measured transfers: it offers KV cache of its memory, or reads it and takes the time.

Argument: the number of a GPU, or `cpu`. It obeys its input, a JSON list a line, and answers each with one
line. Beside the transfer through staging memory the reader makes the same READ block by block, one
READ of as many bytes in one piece, and a copy without NIXL.
"""

import json
import os
import select
import statistics
import sys
import threading
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from disagg_worker.kv.cache import Axis, CacheLayout
from disagg_worker.kv.mover import Mover, NumpyMover
from disagg_worker.kv.planner import plan
from disagg_worker.memory import region_of
from disagg_worker.transfer.agent import NixlAgent, Span
from disagg_worker.transfer.staged import Arrival, Receiver, Sender, Slots, Store, Wanted
from disagg_worker.transfer.staged.cost import ALWAYS_DIRECT, ALWAYS_STAGED
from disagg_worker.transfer.staged.notes import layout_of, parse, target_of

NAMED: tuple[Axis, ...] = ("layer", "kv", "block", "head", "token", "dim")
HOST = "host memory"
"""Stands for a GPU's name where there is none."""
PEER_PIECE = 2 << 30
TICKET = b"ticket "
TICKET_SECONDS = 0.0003
"""Between an offer and its ticket: the time of its sums, in which the first piece is staged."""
STEPS_AHEAD = 6
MODES = {"staged": ALWAYS_STAGED, "direct": ALWAYS_DIRECT}


class Traced:
    """An agent that notes when READs begin and end.

    Args:
        agent: It.
    """

    def __init__(self, agent: NixlAgent) -> None:
        self._agent = agent
        self.begun: list[float] = []
        self.ended: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agent, name)

    def read(self, *arguments: Any) -> object:
        handle = self._agent.read(*arguments)
        self.begun.append(time.perf_counter())
        return handle

    def is_done(self, handle: object) -> bool:
        done = self._agent.is_done(handle)
        if done:
            self.ended.append(time.perf_counter())
        return done

    def idle(self) -> float:
        """Seconds between the first beginning and the last end in which no READ was under way."""
        found, until = 0.0, self.begun[0]
        for begun, ended in zip(self.begun, self.ended, strict=True):  # READs end in their order
            found += max(0.0, begun - until)
            until = max(until, ended)
        return found


class Side:
    """Memory, an agent, and what is measured with them."""

    def __init__(self, gpu: int | None) -> None:
        self.gpu = gpu
        self.mover: Mover = NumpyMover()
        if gpu is not None:
            import torch  # noqa: PLC0415 - only where there is a GPU

            from disagg_worker.kv.cuda import CudaMover  # noqa: PLC0415

            torch.cuda.set_device(gpu)
            self.torch: Any = torch
            self.mover = CudaMover(gpu)
        self.peer: dict[str, Any] = {}
        self.offered = 0
        self.tickets: dict[str, deque[dict[str, int]]] = defaultdict(deque)
        self.sender: Sender | None = None
        self.receiver: Receiver | None = None
        self.pace: Callable[[], None] = lambda: None

    def open(self, *, nbytes: int, staging: int, settings: dict[str, Any]) -> dict[str, Any]:
        """Allocate and register memory; `settings` are arguments of NIXL's configuration."""
        if settings:
            _override_configuration(settings)
        self.memory = self.mover.allocate(nbytes)
        self.staging = self.mover.allocate(staging)
        if self.gpu is None:
            self.memory.view(np.int64)[:] = np.random.default_rng(1).integers(0, 1 << 62, nbytes // 8)
        else:
            self.memory.view(self.torch.int64).random_()
            self.torch.cuda.synchronize()
        self.agent = NixlAgent(
            f"side-{uuid.uuid4().hex[:8]}", "UCX", region_of(self.memory), region_of(self.staging)
        )
        name = HOST if self.gpu is None else self.torch.cuda.get_device_name(self.gpu)
        address = region_of(self.memory).address
        return {"agent": self.agent.name, "metadata": self.agent.metadata().hex(), "address": address,
                "gpu": self.gpu, "device": name}  # fmt: skip

    def connect(self, *, peer: dict[str, Any]) -> dict[str, Any]:
        """Connect to the other side."""
        self.agent.connect(bytes.fromhex(peer["metadata"]))
        self.peer = peer
        return {}

    def serve(
        self,
        *,
        layout: Any,
        slots: list[int],
        blocks: list[int],
        tokens: int,
        seconds_per_layer: float | None,
    ) -> dict[str, Any]:
        """Offer a prompt; with a time for each layer, as if it were being computed from now on."""
        own = layout_of(layout)
        region = self.memory[: own.nbytes]
        sender = Sender(self._store(region, own, slots))
        self.offered += 1
        name, due = f"prompt-{self.offered}", 0.0

        def offer() -> None:
            nonlocal due
            sender.offer(name, blocks, tokens, None if seconds_per_layer is None else 0)
            due = time.perf_counter() + TICKET_SECONDS

        def ticket() -> None:
            nonlocal due
            if due and time.perf_counter() > due:
                due = 0.0
                told = json.dumps([name, sender.ahead(name)]).encode()
                self.agent.notify(self.peer["agent"], TICKET + told)

        sender.on_read = lambda *_: offer()  # the next request has as many tokens
        begun = time.perf_counter()
        offer()
        self.sender, self.pace = sender, ticket
        if seconds_per_layer is not None:
            each = seconds_per_layer

            def pace() -> None:
                sender.computed(name, min(own.layers, int((time.perf_counter() - begun) / each)))
                ticket()

            self.pace = pace
        return {"begun": begun, "offer": name}

    def digest(self, *, layout: Any, blocks: list[int], tokens: int, heads: list[int]) -> dict[str, Any]:
        """Number that depends on every element of a prompt and its place, read without the planner."""
        own = layout_of(layout)
        size = own.nbytes
        first = heads[0] - own.own_heads.start
        order = [own.axes.index(axis) for axis in NAMED]
        total = 0
        if self.gpu is None:
            kind = {1: np.int8, 2: np.int16, 4: np.int32}[own.item_bytes]
            view = self.memory[:size].view(kind).reshape(own.shape).transpose(order)
            for layer in view:
                each = layer[:, blocks, first : first + len(heads)].swapaxes(1, 2)
                each = each.reshape(len(layer), len(heads), -1, own.head_dim)[:, :, :tokens]
                weights = np.arange(each.size, dtype=np.int64).reshape(each.shape) % 65521 + 1
                total = (total * 31 + int((each.astype(np.int64) * weights).sum())) % (1 << 61)
            return {"digest": total}
        torch = self.torch
        kind = {1: torch.int8, 2: torch.int16, 4: torch.int32}[own.item_bytes]
        view = self.memory[:size].view(kind).view(own.shape).permute(order)
        chosen = torch.as_tensor(blocks, device=view.device)
        for layer in view:
            for part in layer:
                each = part[chosen, first : first + len(heads)].transpose(0, 1)
                each = each.reshape(len(heads), -1, own.head_dim)[:, :tokens]
                weights = torch.arange(each.numel(), device=each.device).view(each.shape) % 65521 + 1
                total = (total * 31 + int((each.to(torch.int64) * weights).sum())) % (1 << 61)
        return {"digest": total}

    def ours(
        self, *, wanted: Any, slots: list[int], blocks: list[int], mode: str, times: int, clear: bool
    ) -> dict[str, Any]:
        """Read the offered prompt some times; returns the seconds of each and when the last was done."""
        receiver, offer = self._reading(wanted, slots, mode)
        if clear:
            self.memory[: layout_of(wanted["target"]).nbytes] = 0
            self._synchronize()
        took, done = [], 0.0
        for _ in range(times):
            offer = self._with_ticket(offer)
            begun = time.perf_counter()
            self._until_over(receiver, receiver.start(offer, blocks))
            done = time.perf_counter()
            took.append(done - begun)
        return {"seconds": took, "done": done}

    def breakdown(self, *, wanted: Any, slots: list[int], blocks: list[int], times: int) -> dict[str, Any]:
        """Read the offered prompt some times: where the wire had nothing to do."""
        rows = []
        plain = self.agent
        self.agent = traced = Traced(plain)  # type: ignore[assignment]
        receiver, offer = self._reading(wanted, slots, "staged")
        self._until_over(receiver, receiver.start(self._with_ticket(offer), blocks))  # greets the owner
        for _ in range(times):
            offer = self._with_ticket(offer)
            traced.begun.clear()
            traced.ended.clear()
            begun = time.perf_counter()
            self._until_over(receiver, receiver.start(offer, blocks))
            done = time.perf_counter()
            first, last = traced.begun[0], traced.ended[-1]
            rows.append((first - begun, last - first - traced.idle(), traced.idle(), done - last))
        self.agent = plain
        before, busy, idle, after = (statistics.median(part) for part in zip(*rows, strict=True))
        return {"before": before, "busy": busy, "idle": idle, "after": after}

    def _store(self, region: Any, layout: CacheLayout, slots: list[int]) -> Store:
        """A cache with staging memory of so many slots of so many bytes."""
        count, size = slots
        return Store(self.agent, region, layout, self.mover, Slots(self.staging[: count * size], count))

    def _reading(
        self, wanted: Any, slots: list[int], mode: str, most: float | None = None
    ) -> tuple[Receiver, Wanted]:
        """Make a receiver, and what it is to read."""
        target = layout_of(wanted["target"])
        region = self.memory[: target.nbytes]
        self.receiver = Receiver(
            self._store(region, target, slots), cost=MODES[mode], most_bytes_per_second=most
        )
        offer = Wanted(
            wanted["offer"],
            self.peer["agent"],
            self.peer["gpu"],
            layout_of(wanted["layout"]),
            self.peer["address"],
            wanted["blocks"],
            wanted["tokens"],
            target_of(wanted["text"])[1],
            slots[1],
            complete=mode == "direct",
        )
        return self.receiver, offer

    def _until_over(self, receiver: Receiver, arrival: Arrival, idle: float = 0.0) -> None:
        while not arrival.over:
            if not self.step() and idle:
                time.sleep(idle)
        if arrival.error:
            raise arrival.error
        while receiver.transfers:
            self.step()

    def _with_ticket(self, offer: Wanted) -> Wanted:
        """Wait for the ticket of an offer."""
        while not self.tickets[offer.offer]:
            self.step()
        return replace(offer, ahead=self.tickets[offer.offer].popleft())

    def by_block(self, *, wanted: Any, blocks: list[int], times: int) -> dict[str, Any]:
        """READ the same pieces with a descriptor each; the preparation of descriptors is not timed."""
        target, far = layout_of(wanted["target"]), layout_of(wanted["layout"])
        path = plan(
            far, target, wanted["blocks"], blocks, tokens=wanted["tokens"], share=target_of(wanted["text"])[1]
        )
        source = np.add.outer(path.lanes.source, path.unit_source).ravel() + self.peer["address"]
        to = np.add.outer(path.lanes.target, path.unit_target).ravel() + region_of(self.memory).address
        length = path.lanes.length
        spans = [Span(near, other, length) for near, other in zip(to.tolist(), source.tolist(), strict=True)]
        return {"seconds": self._read(spans, times), "piece": length, "pieces": len(spans)}

    def one_piece(self, *, nbytes: int, times: int) -> dict[str, Any]:
        """READ as many bytes with one descriptor."""
        span = Span(region_of(self.memory).address, self.peer["address"], nbytes)
        return {"seconds": self._read([span], times)}

    def copy(self, *, nbytes: int, times: int) -> dict[str, Any]:
        """Copy as many bytes without NIXL: from the peer's GPU, or within host memory."""
        if self.gpu is None:
            source = np.ones(nbytes, dtype=np.uint8)
            return {
                "seconds": [_timed(lambda: np.copyto(self.memory[:nbytes], source)) for _ in range(times)]
            }
        torch = self.torch
        size = min(nbytes, PEER_PIECE)
        source = torch.ones(size, dtype=torch.uint8, device=f"cuda:{self.peer['gpu']}")
        torch.cuda.synchronize(self.peer["gpu"])

        def copy() -> None:
            for at in range(0, nbytes, size):
                part = self.memory[at : min(at + size, nbytes)]
                part.copy_(source[: len(part)], non_blocking=True)
            torch.cuda.synchronize(self.gpu)
            torch.cuda.synchronize(self.peer["gpu"])

        copy()
        return {"seconds": [_timed(copy) for _ in range(times)]}

    def decode(
        self,
        *,
        wanted: Any,
        slots: list[int],
        blocks: list[int],
        rate: float | None,
        seconds: float,
        most: float | None,
    ) -> dict[str, Any]:
        """Decode while prompts arrive at a rate: 0 is none, None as many as can; `most` limits bytes/s."""
        decoding = Decoding(self.torch, self.gpu)
        receiver, offer = self._reading(wanted, slots, "staged", most)
        sys.setswitchinterval(1e-4)
        decoding.start()
        time.sleep(0.5)
        first, begun, due = decoding.steps, time.perf_counter(), 0.0
        waited = []
        while (now := time.perf_counter() - begun) < seconds:
            if rate == 0 or (rate and now < due):
                time.sleep(0.0002)
                continue
            due += 1 / rate if rate else 0
            offer = self._with_ticket(offer)
            began = time.perf_counter()
            self._until_over(receiver, receiver.start(offer, blocks), idle=0.00002)
            waited.append(time.perf_counter() - began)
        per_second = (decoding.steps - first) / (time.perf_counter() - begun)
        decoding.end()
        return {
            "steps_per_second": per_second,
            "prompts": len(waited),
            "seconds": seconds,
            "prompt_seconds": statistics.median(waited) if waited else None,
        }

    def _read(self, spans: list[Span], times: int) -> list[float]:
        """READ with a handle that is made once and used again."""
        nixl = self.agent._nixl
        kind, own = ("DRAM", 0) if self.gpu is None else ("VRAM", self.gpu)
        other = self.peer["gpu"] or 0
        near = nixl.get_xfer_descs([(s.local, s.length, own) for s in spans], kind)
        far = nixl.get_xfer_descs([(s.remote, s.length, other) for s in spans], kind)
        handle = nixl.initialize_xfer("READ", near, far, self.peer["agent"])

        def read() -> None:
            state = nixl.transfer(handle)
            while state == "PROC":
                state = nixl.check_xfer_state(handle)
            if state != "DONE":
                raise RuntimeError(f"the READ ended with {state}")

        read()
        took = [_timed(read) for _ in range(times)]
        nixl.release_xfer_handle(handle)
        return took

    def _synchronize(self) -> None:
        if self.gpu is not None:
            self.torch.cuda.synchronize()

    def step(self) -> bool:
        """Follow notes and go on."""
        self.pace()
        for text in self.agent.notes():
            if text.startswith(TICKET):
                name, ahead = json.loads(text.removeprefix(TICKET))
                self.tickets[name].append(ahead)
                continue
            note = parse(text)
            if note and self.sender:
                self.sender.take(note)
            if note and self.receiver:
                self.receiver.take(note)
        sent = self.sender.step() if self.sender else False
        return (self.receiver.step() if self.receiver else False) or sent


class Decoding:
    """Steps of decode on a GPU, in a thread: matrix products that read 3.2 GB of weights for 32 sequences.

    Attributes:
        steps: Steps that are over.
    """

    def __init__(self, torch: Any, gpu: int | None) -> None:
        self._torch, self._gpu, self.steps = torch, gpu, 0
        weights = torch.ones(24, 8192, 8192, dtype=torch.bfloat16, device="cuda")
        rows = torch.ones(32, 8192, dtype=torch.bfloat16, device="cuda")
        self._kept = [weights, rows]
        self._stream, self._graph = torch.cuda.Stream(), torch.cuda.CUDAGraph()
        with torch.cuda.stream(self._stream):
            for weight in weights:
                torch.matmul(rows, weight)
        torch.cuda.synchronize()
        with torch.cuda.graph(self._graph, stream=self._stream, capture_error_mode="thread_local"):
            for weight in weights:
                torch.matmul(rows, weight)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.start = self._thread.start

    def _run(self) -> None:
        torch = self._torch
        torch.cuda.set_device(self._gpu)
        begun: deque[Any] = deque()
        with torch.cuda.stream(self._stream):
            while not self._stop.is_set():
                self._graph.replay()
                begun.append(torch.cuda.Event(blocking=True))
                begun[-1].record()
                if len(begun) > STEPS_AHEAD:
                    begun.popleft().synchronize()
                    self.steps += 1

    def end(self) -> None:
        """End the thread."""
        self._stop.set()
        self._thread.join()
        self._torch.cuda.synchronize()


def _timed(call: Callable[[], None]) -> float:
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def _override_configuration(settings: dict[str, Any]) -> None:
    """Have agents made with other arguments than the worker's."""
    from nixl import _api  # noqa: PLC0415 - loads UCX

    plain = _api.nixl_agent_config
    _api.nixl_agent_config = lambda **given: plain(**{**given, **settings})


def main() -> None:
    """Obey the input until it ends."""
    side = Side(None if sys.argv[1] == "cpu" else int(sys.argv[1]))
    waiting = 0
    while True:
        # A source serves its reader between commands, so it looks for them now and then only.
        waiting += 1
        look = side.sender is None or waiting % 64 == 0
        if look and select.select([sys.stdin], [], [], 0 if side.sender else None)[0]:
            line = sys.stdin.readline()
            if not line:
                os._exit(0)  # a library in NIXL's wheel (libnl) may crash in its destructor
            verb, arguments = json.loads(line)
            sys.stdout.write(json.dumps(getattr(side, verb)(**arguments)) + "\n")
            sys.stdout.flush()
        if side.sender:
            side.step()


if __name__ == "__main__":
    main()
