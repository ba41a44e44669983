"""What KV cache can move over, and what a platform promises of it.

Shared by the parts that promise (profiles, plan) and the part that judges (`verify`).
"""

from dataclasses import dataclass
from enum import StrEnum


class Transport(StrEnum):
    """What carried KV cache, as a stable word for programs; `label` is for people."""

    UCX_SRD = "UcxSrd"
    """UCX over SRD, the protocol of AWS EFA."""
    LIBFABRIC_EFA = "LibfabricEfa"
    """NIXL's LIBFABRIC plugin over the efa provider."""
    LIBFABRIC_TCP = "LibfabricTcp"
    """NIXL's LIBFABRIC plugin over its tcp or sockets provider, which it takes silently without EFA."""
    UCX_RDMA = "UcxRdma"
    """UCX over rc, dc or ud: InfiniBand or RoCE."""
    NVLINK = "NvLink"
    """UCX's cuda_ipc: NVLink within a node or, with fabric memory, between nodes (MNNVL)."""
    SHARED_MEMORY = "SharedMemory"
    """Memory of one host: cma, sysv, posix, xpmem, knem."""
    UCX_TCP = "UcxTcp"
    """UCX over TCP."""
    NOTHING_MOVED = "NothingMoved"
    """Nothing moved, though it was looked for."""
    UNKNOWN = "Unknown"
    """It cannot be told."""

    @property
    def carries(self) -> bool:
        """Whether this names something that carries bytes."""
        return self not in {Transport.NOTHING_MOVED, Transport.UNKNOWN}

    @property
    def label(self) -> str:
        """The words for people, such as ``UCX srd``; the column TRANSPORT sets the method before them."""
        return _LABELS[self]

    @property
    def spoken(self) -> str:
        """The words within a sentence, such as ``UCX over srd``."""
        plugin, _, rest = self.label.partition(" ")
        return f"{plugin} over {rest}" if self.carries and rest else self.label


RDMA = frozenset({Transport.UCX_SRD, Transport.LIBFABRIC_EFA, Transport.UCX_RDMA})
"""Transports that need an RDMA device in the pod."""

_LABELS = {
    Transport.UCX_SRD: "UCX srd",
    Transport.LIBFABRIC_EFA: "LIBFABRIC efa",
    Transport.LIBFABRIC_TCP: "LIBFABRIC tcp",
    Transport.UCX_RDMA: "UCX rdma",
    Transport.NVLINK: "UCX cuda_ipc",
    Transport.SHARED_MEMORY: "UCX shared memory",
    Transport.UCX_TCP: "UCX tcp",
    Transport.NOTHING_MOVED: "nothing moved",
    Transport.UNKNOWN: "unknown",
}


@dataclass(frozen=True)
class Promise:
    """What a deployment may expect of its platform.

    Attributes:
        transports: transports that keep the promise; empty where the platform promises none in particular.
        method: library that moves KV cache, such as ``NIXL``.
        backend: plugin that was configured, such as ``UCX``; empty for a method without plugins.
        devices: fabric devices given to each worker pod; 0 for none.
        gpus: GPUs of each worker pod.
        rails: whether each GPU has a fabric device of its own that is to be used.
        minimum_gbps: least rate in 10⁹ bytes a second, or None for any.
        excluded_by: where a variable excludes all these transports, such as ``spec.env sets UCX_TLS=tcp``;
            empty where none does.
    """

    transports: frozenset[Transport] = frozenset()
    method: str = "NIXL"
    backend: str = "UCX"
    devices: int = 0
    gpus: int = 0
    rails: bool = False
    minimum_gbps: float | None = None
    excluded_by: str = ""
