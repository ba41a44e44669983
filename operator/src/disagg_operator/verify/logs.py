"""What an engine's log says about transport.

NIXL names its backend, UCX lists the lanes that an endpoint could use and, with UCX_PROTO_INFO, writes a
table for each way of moving bytes whose last column names the lanes that do. A table of reads from or writes
to another worker's memory tells what carries KV cache; a list of lanes only tells what could: a peer on the
same host shows tcp there and is then read through cma.

Every pattern here is of a line that is quoted in the tests with its source.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from disagg_operator.api.transport import Transport

_LONGEST = 200
_MOST_LINES = 6


@dataclass(frozen=True)
class Fault:
    """Something that the log calls wrong.

    Attributes:
        reason: stable word for programs.
        says: sentence for people, with the remedy.
        line: the line.
    """

    reason: str
    says: str
    line: str


@dataclass(frozen=True)
class LogFindings:
    """What a log says.

    Attributes:
        backend: NIXL plugin that was instantiated last, such as ``UCX``; empty where none is named.
        provider: libfabric's provider, such as ``efa`` or ``tcp``; empty where none is named.
        kv_lanes: lanes that carry KV cache by UCX's tables, such as ``srd/rdmap40s0:1``.
        other_lanes: lanes that endpoints list; they could be used.
        emulated: whether UCX moves KV cache by software emulation.
        faults: what the log calls wrong, each reason once.
        lines: the lines that tell, at most 6.
    """

    backend: str = ""
    provider: str = ""
    kv_lanes: tuple[str, ...] = ()
    other_lanes: tuple[str, ...] = ()
    emulated: bool = False
    faults: tuple[Fault, ...] = ()
    lines: tuple[str, ...] = ()

    @property
    def carried(self) -> Transport:
        """What carries KV cache by UCX's tables; Unknown where there is no table."""
        return of_lanes(self.kv_lanes)

    @property
    def named(self) -> Transport:
        """What the log names: by tables, else by libfabric's provider, else by the lanes of endpoints."""
        if self.carried.carries:
            return self.carried
        if self.provider and self.backend in {"", LIBFABRIC}:
            return _BY_PROVIDER.get(self.provider, Transport.UNKNOWN)
        return of_lanes(self.other_lanes)

    @property
    def srd_devices(self) -> frozenset[str]:
        """EFA devices that the log names beside SRD, such as ``rdmap40s0``."""
        lanes = (*self.kv_lanes, *self.other_lanes)
        return frozenset(lane[len("srd/") :].partition(":")[0] for lane in lanes if lane.startswith("srd/"))


LIBFABRIC = "LIBFABRIC"
_BY_PROVIDER = {
    "efa": Transport.LIBFABRIC_EFA,
    "tcp": Transport.LIBFABRIC_TCP,
    "sockets": Transport.LIBFABRIC_TCP,
}

_BACKEND = re.compile(
    r"using NIXL backend: (?P<a>[A-Z_]+)|Backend (?P<b>[A-Z_]+) was instantiated"
    r"|Selected backend: (?P<c>[A-Z_]+)|NIXL KVManager initialized with backend: (?P<d>[A-Z_]+)"
    r"|(?P<fallback>Unsupported NIXL backend: \S+, fallback to UCX)"
)
_ENDPOINT = re.compile(r"\bcfg#\d+ (?P<lanes>(?:rma|am|amo|tag|rma_am|amo_am|rma_bw|ka|stream)\(.*)")
_GROUP = re.compile(r"(?P<use>[a-z_]+)\((?P<lanes>[^)]*)\)")
_LANE = re.compile(r"[a-z][a-z0-9_]*/[\w.\-]+(?::\d+)?")
_TITLE = re.compile(r"\|\s.*\bcfg#\d+\s*\|")
_HEADING = re.compile(r"\|\s.*\bby ucp_\w+|\|\s+rendezvous data ")
_END = re.compile(r"\+--|" + _TITLE.pattern)
_CARRIES_KV = re.compile(r"remote memory (?:read|write) by ucp_(?:get|put)|rendezvous data (?:fetch|send)")
_BETWEEN_GPUS = re.compile(r"\b(?:into|from|to) cuda\S*\s.*\b(?:from|to) cuda")
_ROW = re.compile(r"\|\s*\d\S*\s*\|(?P<how>[^|]*)\|(?P<lanes>[^|]*)\|")
_EMULATED = ("software emulation", "sw-emul")
_PROVIDER = re.compile(r"rails using provider=(\w+)|Discovered \d+ (\w+) devices \(")
_OF_ITSELF = re.compile(r"\bself cfg#")

_KINDS: tuple[tuple[str, Transport], ...] = (
    # The worst first: where KV cache takes several lanes, the worst of them is what the user waits for.
    (r"tcp", Transport.UCX_TCP),
    (r"sysv|posix|cma|xpmem|knem|self|memory", Transport.SHARED_MEMORY),
    (r"(rc|dc|ud)(_\w+)?|ib", Transport.UCX_RDMA),
    (r"srd", Transport.UCX_SRD),
    (r"cuda_ipc|rocm_ipc|ze_ipc", Transport.NVLINK),
)


def of_lanes(lanes: Iterable[str]) -> Transport:
    """Return the transport of UCX's lanes (``tcp/eth0``), the slowest of several kinds."""
    kinds = {lane.partition("/")[0] for lane in lanes}
    for pattern, transport in _KINDS:
        if any(re.fullmatch(pattern, kind) for kind in kinds):
            return transport
    return Transport.UNKNOWN


def findings(text: str) -> LogFindings:
    """Read an engine's log.

    Args:
        text: the log or a part of it, one or more processes mixed.
    """
    backend = provider = ""
    own: list[str] = []
    tables: list[_Table] = []
    other: list[str] = []
    faults: dict[str, Fault] = {}
    told: list[str] = []
    for line, table in _with_tables(text):
        if table is not None:
            tables.append(table)
            told.append(line)
        if (match := _BACKEND.search(line)) is not None:
            backend = next((name for name in match.group("a", "b", "c", "d") if name), "UCX")
            told.append(line)
        if (match := _PROVIDER.search(line)) is not None:
            provider = next(name for name in match.groups() if name)
            told.append(line)
        if (match := _ENDPOINT.search(line)) is not None:
            (own if _OF_ITSELF.search(line) else other).extend(_data_lanes(match["lanes"]))
            told.append(line)
        for fault in _faults(line):
            faults.setdefault(fault.reason, fault)
    # An engine on GPUs exchanges small things between host and GPU too, over other lanes.
    kv = [table for table in tables if table.between_gpus] or tables
    return LogFindings(
        backend=backend,
        provider=provider,
        kv_lanes=tuple(dict.fromkeys(lane for table in kv for lane in table.lanes)),
        other_lanes=tuple(dict.fromkeys(other or own)),
        emulated=any(word in table.how for table in kv for word in _EMULATED),
        faults=tuple(faults.values()),
        lines=tuple(dict.fromkeys(shortened(line) for line in told))[-_MOST_LINES:],
    )


def shortened(line: str) -> str:
    """Return a line for a status: without the space around it, at most 200 characters long."""
    bare = " ".join(line.split())
    return bare if len(bare) <= _LONGEST else f"{bare[: _LONGEST - 1]}…"


def _data_lanes(groups: str) -> list[str]:
    """Return the lanes of an endpoint for remote memory, or else for messages."""
    found = {match["use"]: _LANE.findall(match["lanes"]) for match in _GROUP.finditer(groups)}
    remote = [lane for use in ("rma_bw", "rma", "rma_am") for lane in found.get(use, [])]
    # SRD has no remote memory of its own in UCX's list: further devices stand under am, as cuda_ipc does.
    also = ("srd/", "cuda_ipc/") if any(lane.startswith("srd/") for lane in remote) else ("cuda_ipc/",)
    if remote:
        remote += [lane for lane in found.get("am", []) if lane.startswith(also)]
    return remote or found.get("am", [])


class _Table(NamedTuple):
    """What a table of UCX says of the largest sizes."""

    lanes: list[str]
    how: str
    between_gpus: bool


def _with_tables(text: str) -> Iterator[tuple[str, _Table | None]]:
    """Yield each line, with the table of which it says what carries KV cache.

    Only the last row of a table counts, which is of the largest sizes. Borders may be missing: an agent sends
    only the lines that tell something.
    """
    last: tuple[str, _Table] | None = None
    foreign = wanted = between_gpus = False
    for line in text.splitlines():
        row = _ROW.search(line) if wanted else None
        if row is None:
            if last is not None and _END.search(line):
                yield last
                last, wanted = None, False
            yield line, None
        elif lanes := _LANE.findall(row["lanes"]):
            last = line, _Table(lanes, row["how"], between_gpus)
        if _TITLE.search(line):
            foreign, wanted = _OF_ITSELF.search(line) is None, False
        elif _HEADING.search(line):
            wanted = foreign and _CARRIES_KV.search(line) is not None
            between_gpus = _BETWEEN_GPUS.search(line) is not None
    if last is not None:
        yield last


def merged(all_findings: Iterable[LogFindings]) -> LogFindings:
    """Return what several logs say together: the lanes of all, the lines and faults of each in turn."""
    found = list(all_findings)
    backends = {each.backend for each in found if each.backend}
    providers = [each.provider for each in found if each.provider]
    faults = {fault.reason: fault for each in reversed(found) for fault in each.faults}
    lines = [line for row in zip_longest(*(each.lines[::-1] for each in found)) for line in row if line]
    return LogFindings(
        backend=backends.pop() if len(backends) == 1 else "",
        # One worker that fell back to tcp is what the others wait for.
        provider=max(providers, key=lambda name: name != "efa", default=""),
        kv_lanes=tuple(dict.fromkeys(lane for each in found for lane in each.kv_lanes)),
        other_lanes=tuple(dict.fromkeys(lane for each in found for lane in each.other_lanes)),
        emulated=any(each.emulated for each in found),
        faults=tuple(faults.values()),
        lines=tuple(dict.fromkeys(lines))[:_MOST_LINES],
    )


def _faults(line: str) -> Iterator[Fault]:
    for reason, pattern, says in _FAULTS:
        if (match := pattern.search(line)) is not None:
            yield Fault(reason, says.format(*(group for group in match.groups() if group)), shortened(line))


_PLUGIN_FOLDER = "Set NIXL_PLUGIN_DIR to the plugins that were built with the NIXL that the engine loads."

_FAULTS = tuple(
    (reason, re.compile(pattern), says)
    for reason, pattern, says in (
        (
            "BackendFellBack",
            r"Unsupported NIXL backend: (\S+), fallback to UCX",
            "TensorRT-LLM does not know NIXL backend {0} and took UCX: write UCX or LIBFABRIC, in capitals.",
        ),
        (
            "PluginNotLoadable",
            r"Failed to load plugin from \S*?libplugin_(\w+)\.so: (.{1,160})",
            "NIXL cannot load its plugin {0}: {1}.",
        ),
        (
            "PluginVersion",
            r"Plugin API version mismatch for (\S+): expected (\d+), got (\d+)",
            f"NIXL plugin {{0}} has interface {{2}} and not {{1}}. {_PLUGIN_FOLDER}",
        ),
        (
            "PluginForeign",
            r"Failed to find nixl_plugin_init in (\S+): ",
            f"{{0}} is no plugin of this NIXL. {_PLUGIN_FOLDER}",
        ),
        (
            "BackendUnavailable",
            r"Failed to create NIXL backend: (\w+)|backend creation failed for '(\w+)'"
            r"|backend initialization error for '(\w+)'|unsupported backend '(\w+)'"
            r"|getPluginParams\S* backend '(\w+)' not found",
            f"NIXL cannot start its backend {{0}}. {_PLUGIN_FOLDER}",
        ),
        (
            "NixlAbiMismatch",
            r"Assertion failed: status == NIXL_SUCCESS",
            f"The engine and the NIXL plugins do not fit together. {_PLUGIN_FOLDER}",
        ),
        (
            "NoCudaInUcx",
            r"UCX CUDA support was not found",
            "UCX takes GPU memory for host memory: UCX_TLS, if it is set, must name cuda_copy and cuda_ipc.",
        ),
        (
            "NoRdmaInUcx",
            r"accelerated IB support was not found",
            "UCX does not use the InfiniBand devices: the image's UCX lacks rc and dc.",
        ),
        (
            "LaneUnavailable",
            r"transport '(\w+)' is not available",
            "UCX has no {0} here: the image's UCX lacks it, or the pod has no such device.",
        ),
        (
            "MemoryNotRegistered",
            r"fi_mr_reg failed|Unable to register MR",
            "libfabric cannot register memory: GB200 needs libfabric 2.5.1, and EFA with GPU memory "
            "privileged pods.",
        ),
        (
            "EfaWithinNode",
            r"fi_read still retrying EAGAIN",
            "EFA does not carry data between pods of one node: place prefill and decode on different nodes.",
        ),
        (
            "NixlMissing",
            r"NIXL is not available",
            "The engine finds no NIXL in its image, so that no KV cache can move.",
        ),
        (
            "TransferFailed",
            r"NIXL transfer failure: (\w+)",
            "vLLM could not move the KV cache of a request ({0}).",
        ),
        (
            "BootstrapUnreachable",
            r"Could not fetch prefill parallel info from bootstrap_addr: (\S+)",
            "SGLang's decode worker cannot reach the bootstrap server of prefill at {0}.",
        ),
        (
            "TransceiverOff",
            r"[Cc]ache_?[Tt]ransceiver is disabled",
            "The engine's KV transfer is off: set cache_transceiver_config.backend.",
        ),
    )
)
