"""What the transport agent beside a worker tells: the JSON of its ``/evidence``.

Invariants: all counters are absolute and cumulative; what an agent could not read is listed as unreadable and
never counts as absent; fields that this version does not know are passed over, so that an agent of another
version is still understood.
"""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Count = Annotated[int, Field(ge=0, le=2**64)]


class _Part(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Device(_Part):
    """A port of an RDMA device."""

    name: str
    """Kernel's name, such as ``rdmap40s0``."""
    kind: str = "other"
    """``efa``, ``mlx5`` or ``other``."""
    port: int = 1
    """Number of the port."""
    state: str = ""
    """State of the link, such as ``ACTIVE``."""
    link_layer: str = ""
    """``InfiniBand``, ``Ethernet`` or ``Unspecified``."""
    given: bool | None = None
    """Whether the engine's container has the device; None where that is not known."""
    counters: dict[str, Count] = Field(default_factory=dict)
    """Kernel's counters by its names; ``tx_bytes`` and ``rx_bytes`` are in bytes for every kind."""


class Interface(_Part):
    """A network interface of the pod."""

    name: str
    """Name, such as ``eth0``."""
    rx_bytes: Count
    """Bytes received."""
    tx_bytes: Count
    """Bytes sent."""


class Library(_Part):
    """A shared library that a process of the engine has mapped."""

    kind: str
    """``nixl``, ``nixl-plugin``, ``ucx``, ``ucx-transport``, ``libfabric``, ``efa``, ``cuda`` or ``mpi``."""
    path: str
    """Its file in the engine's container."""


class Process(_Part):
    """A process of the engine."""

    pid: int
    """Its number."""
    name: str = ""
    """Its name."""
    libraries: tuple[Library, ...] = ()
    """Libraries that matter for transport."""


class Unreadable(_Part):
    """Something that the agent could not read."""

    what: str
    """What it is."""
    why: str
    """Why not."""


class NvLink(_Part):
    """An NVLink of a GPU."""

    gpu: int
    """Index of the GPU."""
    link: int
    """Index of the link."""
    rx_bytes: Count
    """Bytes received."""
    tx_bytes: Count
    """Bytes sent."""


class NvLinks(_Part):
    """The NVLinks of the pod's GPUs."""

    available: bool = False
    """Whether they can be read."""
    reason: str = ""
    """Why not."""
    links: tuple[NvLink, ...] = ()
    """One entry a link."""


class NixlTelemetry(_Part):
    """NIXL's own count. Only the end that begins a transfer counts: a reader receives, a writer sends."""

    available: bool = False
    """Whether the exporter is on."""
    reason: str = ""
    """Why not."""
    rx_bytes: Count = 0
    """Bytes that this pod's agents read."""
    tx_bytes: Count = 0
    """Bytes that this pod's agents wrote."""
    source: str = ""
    """Address of the exporter."""


class KvRead(_Part):
    """KV bytes that an engine read, by the transport that it saw."""

    backend: str
    """NIXL plugin."""
    transport: str
    """Lanes of UCX joined with ``+``, such as ``tcp/eth0``."""
    bytes: Count
    """Bytes."""


class Engine(_Part):
    """An engine's own account; only the reference engine keeps one."""

    kv_read: tuple[KvRead, ...] = ()
    """What it read from prefill workers."""
    kv_served_bytes: Count = 0
    """What decode workers confirmed to have read from it."""


class LogFile(_Part):
    """Lines of a log file that speak of transport."""

    path: str
    """File in the engine's container."""
    lines: tuple[str, ...] = ()
    """The newest of them."""


class Model(_Part):
    """What decides the size of KV cache, from the model's ``config.json``."""

    layers: int | None = None
    """Attention layers."""
    kv_heads: int | None = None
    """Key/value heads."""
    head_dim: int | None = None
    """Elements of a head."""
    kv_lora_rank: int | None = None
    """Elements of the compressed KV of multi-head latent attention."""
    rope_head_dim: int | None = None
    """Elements of its rotary part (``qk_rope_head_dim``)."""
    dtype: str | None = None
    """Type of the weights, such as ``bfloat16``."""
    path: str = ""
    """Where it was read."""


class Evidence(_Part):
    """What one agent tells at one moment."""

    version: int = 1
    """Version of this form."""
    time: float = 0.0
    """Agent's clock in seconds since 1970."""
    uptime_seconds: float = 0.0
    """Age of the agent."""
    pod: str = ""
    """Name of the pod."""
    namespace: str = ""
    """Namespace of the pod."""
    node: str = ""
    """Node of the pod."""
    devices: tuple[Device, ...] = ()
    """RDMA devices that sysfs shows, which may be more than the pod was given."""
    interfaces: tuple[Interface, ...] = ()
    """Network interfaces."""
    processes: tuple[Process, ...] = ()
    """Processes of the engine."""
    unreadable: tuple[Unreadable, ...] = ()
    """What could not be read."""
    nvlink: NvLinks = Field(default_factory=NvLinks)
    """NVLink."""
    nixl: NixlTelemetry = Field(default_factory=NixlTelemetry)
    """NIXL's telemetry."""
    engine: Engine | None = None
    """The engine's own account."""
    logs: tuple[LogFile, ...] = ()
    """Log files of the engine."""
    model: Model | None = None
    """Model that is served."""
    device_files: tuple[str, ...] = ()
    """RDMA device files in the engine's container."""

    @property
    def plugins(self) -> frozenset[str]:
        """NIXL plugins of which a process has the library mapped, such as ``UCX``."""
        names = (
            library.path.rpartition("/")[2]
            for process in self.processes
            for library in process.libraries
            if library.kind == "nixl-plugin"
        )
        return frozenset(
            name[len("libplugin_") :].partition(".")[0] for name in names if "libplugin_" in name
        )
