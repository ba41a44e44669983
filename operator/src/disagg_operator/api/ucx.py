"""What UCX_TLS, by which UCX is told its transports, leaves KV cache to take.

Invariant: a transport that may be meant counts as left; only what surely is excluded is told to be.
"""

import re

from disagg_operator.api.transport import Transport

UCX_TLS = "UCX_TLS"
"""The variable: names and aliases of transports, or of those not to take after a ``^``."""

_NAMES = {
    Transport.UCX_TCP: r"tcp",
    Transport.UCX_SRD: r"srd(_\w+)?|ib",
    Transport.UCX_RDMA: r"(rc|dc|ud|gga)(_\w+)?|ib",
    Transport.NVLINK: r"cuda|cuda_ipc",
}
"""Any of these names one."""

_WHOLE = {
    Transport.UCX_TCP: ({"tcp"},),
    Transport.UCX_SRD: ({"srd"},),
    Transport.UCX_RDMA: ({"ib"}, {"rc", "dc", "ud"}),
    Transport.NVLINK: ({"cuda"}, {"cuda_ipc"}),
}
"""Each of these names all of one."""


def may_take(tls: str, transport: Transport) -> bool:
    """Tell whether a value of UCX_TLS leaves a transport; one that is not UCX's is no matter of it."""
    names = {name.strip().lstrip("\\").partition(":")[0] for name in tls.removeprefix("^").split(",")}
    if transport not in _NAMES or names == {""}:
        return True
    if tls.startswith("^"):
        return not any(group <= names for group in ({"all"}, *_WHOLE[transport]))
    return any(re.fullmatch(f"all|{_NAMES[transport]}", name) for name in names)
