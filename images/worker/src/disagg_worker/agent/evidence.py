"""The evidence as values, and the JSON document that they make.

Field names are those of the document in snake case; counters keep the names that the kernel gives them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal

VERSION = 1
DeviceKind = Literal["efa", "mlx5", "other"]
LibraryKind = Literal["nixl", "nixl-plugin", "ucx", "ucx-transport", "libfabric", "efa", "cuda", "mpi"]


@dataclass(frozen=True, slots=True)
class Device:
    """One port of an RDMA device.

    Attributes:
        given: Whether the engine's container holds the device's uverbs file; None where that is unknown.
        counters: Port and hardware counters by the kernel's names. `tx_bytes` and `rx_bytes` are there for
            every device that counts bytes, also where the kernel counts words of four.
    """

    name: str
    kind: DeviceKind
    port: int
    state: str
    link_layer: str
    given: bool | None
    counters: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of the pod, loopback included."""

    name: str
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class Library:
    """A shared library that a process has mapped."""

    kind: LibraryKind
    path: str


@dataclass(frozen=True, slots=True)
class Process:
    """A process that has mapped at least one library of interest."""

    pid: int
    name: str
    libraries: tuple[Library, ...]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What could not be read, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True)
class Link:
    """Data bytes of one NVLink of one GPU, without protocol overhead."""

    gpu: int
    link: int
    rx_bytes: int
    tx_bytes: int


@dataclass(frozen=True, slots=True)
class NvLink:
    """NVLink as NVML tells it; `reason` says why there is nothing when it is not available."""

    available: bool
    reason: str = ""
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Nixl:
    """What NIXL's own Prometheus exporter counts."""

    available: bool
    reason: str = ""
    rx_bytes: int = 0
    tx_bytes: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class KvRead:
    """KV bytes that the reference engine read from prefill workers."""

    backend: str
    transport: str
    bytes: int


@dataclass(frozen=True, slots=True)
class Engine:
    """The reference engine's own count."""

    kv_read: tuple[KvRead, ...]
    kv_served_bytes: int


@dataclass(frozen=True, slots=True)
class Log:
    """Lines of a log file that speak of a transport, the newest last."""

    path: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model:
    """What a token's KV size depends on, out of the model's config.json; None where it is not told."""

    layers: int | None
    kv_heads: int | None
    head_dim: int | None
    kv_lora_rank: int | None
    rope_head_dim: int | None
    dtype: str | None
    path: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything, at one time."""

    time: float
    uptime_seconds: float
    pod: str
    namespace: str
    node: str
    devices: tuple[Device, ...]
    interfaces: tuple[Interface, ...]
    processes: tuple[Process, ...]
    nvlink: NvLink
    nixl: Nixl
    engine: Engine | None
    logs: tuple[Log, ...]
    model: Model | None
    device_files: tuple[str, ...]
    unreadable: tuple[Unreadable, ...]
    version: int = field(default=VERSION)


def document(value: Any) -> Any:
    """Turn evidence into what `json.dumps` takes: fields in camel case, the keys of mappings as they are."""
    if is_dataclass(value):
        return {_camel(each.name): document(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, tuple):
        return [document(each) for each in value]
    return dict(value) if isinstance(value, Mapping) else value


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
