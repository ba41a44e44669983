"""Which pods have no RDMA device, by their agents' own eyes: why a promised fabric was not taken.

Invariant: what an agent could not read counts as there.
"""

from collections.abc import Callable

from disagg_operator.verify.evidence import Evidence
from disagg_operator.verify.paths import Window

_UNREAD = "RDMA devices"
"""How agents name RDMA devices that they could not list."""


def lacking(window: Window) -> str:
    """Return which pods lack RDMA devices, with the remedy; nothing where none is known to lack them."""
    bare = _names(window, _on_bare_node)
    if bare:
        return (
            f"the nodes of {bare} have no RDMA device. Run the workers on nodes that have (spec.placement), "
            "or write a platform without RDMA, such as generic"
        )
    empty = _names(window, _not_given)
    if empty:
        return (
            f"{empty} were given none of their node's RDMA devices. Ask for them with devices of the role, "
            "and see whether podTemplate replaces the container's resources"
        )
    return ""


def _names(window: Window, wanted: Callable[[Evidence], bool]) -> str:
    return ", ".join(sorted(pod for pod, evidence in window.after.items() if wanted(evidence)))


def _on_bare_node(evidence: Evidence) -> bool:
    unread = any(each.what == _UNREAD for each in evidence.unreadable)
    return not evidence.devices and not evidence.device_files and not unread


def _not_given(evidence: Evidence) -> bool:
    return bool(evidence.devices) and all(device.given is False for device in evidence.devices)
