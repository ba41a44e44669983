"""Numbers and remedies as people read them."""

from disagg_operator.api.transport import Promise, Transport

_STEPS = ("B", "kB", "MB", "GB", "TB")
_THOUSAND = 1000.0


def decimal_bytes(count: float) -> str:
    """Return a number of bytes with its unit, such as ``11.8 MB`` (10⁶)."""
    value, unit = max(0.0, float(count)), 0
    while value >= _THOUSAND and unit < len(_STEPS) - 1:
        value, unit = value / _THOUSAND, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_STEPS[unit]}"


def decimal_rate(rate: float) -> str:
    """Return bytes a second with their unit, such as ``9.6 GB/s``."""
    return f"{decimal_bytes(rate)}/s"


def promised(promise: Promise) -> str:
    """Return the promised transports within a sentence."""
    return " or ".join(sorted(transport.spoken for transport in promise.transports))


_EFA = {Transport.UCX_SRD, Transport.LIBFABRIC_EFA}


def remedy(promise: Promise, transport: Transport) -> str:
    """Return what to do about a transport that was not promised."""
    if transport is Transport.LIBFABRIC_TCP:
        return (
            "libfabric found no efa provider: check that the image's libfabric has it (fi_info -p efa), that "
            "the workers hold EFA devices, and that FI_PROVIDER=efa reaches the engine"
        )
    if promise.transports & _EFA and transport is Transport.UCX_TCP:
        return (
            "UCX did not take the EFA devices: check that the workers hold them (ls /dev/infiniband), that "
            "UCX knows srd (ucx_info -d), and that UCX_TLS, if it is set, names srd and cuda_copy"
        )
    if Transport.UCX_RDMA in promise.transports and transport is Transport.UCX_TCP:
        return (
            "UCX did not take the RDMA devices: check that the workers hold them (ls /dev/infiniband), the "
            "limit of locked memory, and UCX_TLS and UCX_NET_DEVICES, if they are set"
        )
    if Transport.NVLINK in promise.transports:
        return (
            "cuda_ipc was not taken: check that ComputeDomainReady is True, that both roles are in one "
            "NVLink clique, and that UCX_TLS, if it is set, names cuda"
        )
    return "check the workers' devices and their UCX_TLS and UCX_NET_DEVICES"
