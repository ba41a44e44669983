"""NIXL behind a narrow interface: one agent, one registered region, READs and notifications.

The NIXL binding is not thread-safe and some of its calls move data before they return, so an agent must be
used from one thread, and that thread must not be the event loop's (`AgentThread` keeps both rules).

Data moves while `is_done` or `notes` is called, on both sides, so a side that expects something calls one of
them often (`transfer.looking`) and an idle one now and then. NIXL's own progress thread is off: it polls
without a break, which costs half a core in an idle worker and slows reads down, on NVLink between two H100
from 396 to 287 GB/s (docs/kv-transfer.md).
"""

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, Protocol, TypeVar, cast

from disagg_worker.errors import ConfigError
from disagg_worker.memory import Region
from disagg_worker.transfer import transport
from disagg_worker.transfer.errors import PeerLost, TransferError

T = TypeVar("T")


class Span(NamedTuple):
    """A piece of memory that is read: two addresses and a length in bytes."""

    local: int
    remote: int
    length: int


PREPARED = 64
"""READs of one piece that are kept prepared: slots of staging memory are read again and again."""

log = logging.getLogger(__name__)


class Agent(Protocol):
    """What the transfer needs of NIXL. All methods block for a short time only.

    Attributes:
        name: Unique to this process.
        backend: NIXL backend in use.
    """

    name: str
    backend: str

    def metadata(self) -> bytes:
        """Everything a peer needs to read from the registered region."""

    def connect(self, metadata: bytes) -> str:
        """Add a peer and return its agent name; raises PeerLost when it cannot be reached."""

    def disconnect(self, peer: str) -> None:
        """Forget a peer."""

    def read(self, peer: str, gpu: int | None, spans: Sequence[Span], note: bytes) -> object:
        """Begin a READ and return its handle.

        Args:
            peer: Agent to read from.
            gpu: Which of its GPUs has the memory; None for its host memory.
            spans: What to read.
            note: The peer gets it when the READ is done.
        """

    def is_done(self, handle: object) -> bool:
        """Whether a READ is complete; raises PeerLost or TransferError when it failed."""

    def release(self, handle: object) -> None:
        """Free the handle of a READ that is over."""

    def notify(self, peer: str, note: bytes) -> None:
        """Send a peer a note that belongs to no READ."""

    def notes(self) -> list[bytes]:
        """Notes that came in since the last call."""


@dataclass(eq=False, slots=True)
class _Read:
    """A READ.

    Attributes:
        handle: NIXL's.
        piece: What is read, if it is one piece: peer, its GPU and the span.
        whole: Whether it ended well.
    """

    handle: Any
    piece: tuple[str, int | None, Span] | None
    whole: bool = False


class NixlAgent:
    """An agent on NIXL 1.5.

    Args:
        name: Unique to this process: NIXL keeps peers by name.
        backend: NIXL backend; must be UCX.
        region: The memory that peers may read and that READs write to.
        others: More of the same kind.
    """

    def __init__(self, name: str, backend: str, region: Region, *others: Region) -> None:
        transport.prepare_evidence(os.environ)
        # NIXL connects in this thread, which can do nothing else meanwhile: by Linux's default for two
        # minutes where nobody answers. With one repetition UCX gives up after 3 s.
        os.environ.setdefault("UCX_TCP_SYN_CNT", "1")
        _enter(region.gpu)
        from nixl import _api, _bindings  # noqa: PLC0415 - loads UCX, which reads its environment once

        self.name, self.backend = name, backend
        self._lost: type[Exception] = _bindings.nixlRemoteDisconnectError
        self._failures = _nixl_errors(_bindings)
        try:
            config = _api.nixl_agent_config(enable_prog_thread=False, backends=[backend])
            self._nixl: Any = _api.nixl_agent(name, config)
        except self._failures as error:
            raise ConfigError(f"transfer.backend: NIXL cannot start {backend} here: {error}") from None
        self._gpu = region.gpu
        self._registered: list[Any] = []
        self._prepared: OrderedDict[tuple[str, int | None, Span], Any] = OrderedDict()
        for each in (region, *others):
            self._register(each)

    def _register(self, region: Region) -> None:
        kind, number = _kind(region.gpu)
        whole = self._nixl.get_reg_descs([(region.address, region.nbytes, number, "")], kind)
        self._registered.append(self._nixl.register_memory(whole, backends=[self.backend]))

    def metadata(self) -> bytes:
        """See Agent."""
        return bytes(self._nixl.get_agent_metadata())

    def connect(self, metadata: bytes) -> str:
        """See Agent."""
        try:
            name = self._nixl.add_remote_agent(metadata)
        except self._failures as error:
            raise PeerLost(f"the prefill worker cannot be reached ({error})") from None
        peer = name.decode() if isinstance(name, bytes) else str(name)
        self._unprepare(peer)
        return peer

    def disconnect(self, peer: str) -> None:
        """See Agent."""
        self._unprepare(peer)
        self._guard(lambda: self._nixl.remove_remote_agent(peer))

    def read(self, peer: str, gpu: int | None, spans: Sequence[Span], note: bytes) -> object:
        """See Agent."""
        piece = (peer, gpu, spans[0]) if len(spans) == 1 else None

        def begin() -> _Read:
            handle = self._prepared.pop(piece, None) if piece else None
            handle = handle or self._prepare(peer, gpu, spans)
            self._nixl.transfer(handle, note)
            return _Read(handle, piece)

        return self._guard(begin)

    def _prepare(self, peer: str, gpu: int | None, spans: Sequence[Span]) -> Any:
        (here, own), (there, other) = _kind(self._gpu), _kind(gpu)
        local = self._nixl.get_xfer_descs([(s.local, s.length, own) for s in spans], here)
        remote = self._nixl.get_xfer_descs([(s.remote, s.length, other) for s in spans], there)
        return self._nixl.initialize_xfer("READ", local, remote, peer, b"", [self.backend])

    def _unprepare(self, peer: str) -> None:
        """Forget the READs from a peer: they are of a connection that is over."""
        for piece in [each for each in self._prepared if each[0] == peer]:
            self._guard(partial(self._nixl.release_xfer_handle, self._prepared.pop(piece)))

    def is_done(self, handle: object) -> bool:
        """See Agent."""
        read = cast(_Read, handle)
        state = self._guard(lambda: self._nixl.check_xfer_state(read.handle))
        if state == "ERR":
            raise TransferError("NIXL reports that the KV read failed")
        read.whole = state == "DONE"
        return read.whole

    def release(self, handle: object) -> None:
        """See Agent."""
        read = cast(_Read, handle)
        over = read.handle
        if read.whole and read.piece:
            self._prepared[read.piece] = over
            if len(self._prepared) <= PREPARED:
                return
            _, over = self._prepared.popitem(last=False)
        self._guard(lambda: self._nixl.release_xfer_handle(over))

    def notify(self, peer: str, note: bytes) -> None:
        """See Agent."""
        self._guard(lambda: self._nixl.send_notif(peer, note))

    def notes(self) -> list[bytes]:
        """See Agent."""
        arrived: dict[str, list[bytes]] = self._guard(self._nixl.get_new_notifs)
        return [note for notes in arrived.values() for note in notes]

    def _guard(self, call: Callable[[], T]) -> T:
        try:
            return call()
        except self._lost:
            raise PeerLost("the connection to the prefill worker broke") from None
        except self._failures as error:
            raise TransferError(f"NIXL: {error}") from None


class AgentThread:
    """Runs the calls of one agent in one thread of their own, in order.

    Args:
        open_agent: Makes the agent; called in that thread.
    """

    def __init__(self, open_agent: Callable[[], Agent]) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="nixl")
        self.agent = self._executor.submit(open_agent).result()

    async def call(self, method: Callable[..., T], *arguments: Any) -> T:
        """Await the result of a method of the agent."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, method, *arguments)

    def tell(self, method: Callable[..., object], *arguments: Any) -> None:
        """Have a method called without waiting for it; it must not fail."""
        self._executor.submit(_logged, method, *arguments)

    def close(self) -> None:
        """End the thread after the calls that were made before."""
        self._executor.shutdown(wait=True)


def _logged(method: Callable[..., object], *arguments: Any) -> None:
    try:
        method(*arguments)
    except Exception:
        log.exception("a call of NIXL's thread failed")


def open_agent(name: str, backend: str, region: Region, *others: Region) -> AgentThread:
    """Start a NIXL agent and its thread.

    Args:
        name: Unique to this process.
        backend: NIXL backend.
        region: The memory that peers may read and that READs write to.
        others: More of the same kind.

    Raises:
        ConfigError: This worker cannot use the backend, or it does not start on this machine.
    """
    if backend != "UCX":
        raise ConfigError(f"transfer.backend: {backend} is not supported yet by this worker; write UCX")
    return AgentThread(lambda: NixlAgent(name, backend, region, *others))


def _kind(gpu: int | None) -> tuple[str, int]:
    """Return NIXL's word for memory, and the number of its device."""
    return ("DRAM", 0) if gpu is None else ("VRAM", gpu)


def _enter(gpu: int | None) -> None:
    """Make a GPU this thread's own: UCX looks for CUDA memory and links in the context of its caller."""
    if gpu is not None:
        import torch  # noqa: PLC0415 - an extra, which is there where memory is on a GPU

        torch.cuda.set_device(gpu)
        torch.cuda.synchronize()  # enters the context also where the call before finds nothing to change


def _nixl_errors(bindings: Any) -> tuple[type[Exception], ...]:
    """All exception types of the binding: it has no common base but Exception."""
    found = [
        value for key, value in vars(bindings).items() if key.startswith("nixl") and key.endswith("Error")
    ]
    return (*found, RuntimeError)
