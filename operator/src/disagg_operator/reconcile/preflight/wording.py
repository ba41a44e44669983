"""How preflight speaks of nodes, pods and amounts."""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from math import ceil

from disagg_operator.platforms.prerequisites import provider_of
from disagg_operator.reconcile.preflight.snapshot import Node

LABELS = "https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/"

_GIBIBYTE, _MEBIBYTE = 2**30, 2**20
_BYTES = ("memory", "ephemeral-storage")
_SHOWN = 3


def pods_of(roles: Sequence[str]) -> str:
    """Say whose pods: ``prefill, decode and frontend pods``."""
    *others, last = roles
    return f"{', '.join(others)} and {last} pods" if others else f"{last} pods"


def capitalised(sentence: str) -> str:
    """Begin a sentence with a capital, and leave the rest as it is."""
    return f"{sentence[:1].upper()}{sentence[1:]}"


def listed(nodes: Iterable[Node]) -> str:
    """Name nodes, the first few of them."""
    return some(sorted(node.name for node in nodes))


def some(names: Sequence[str]) -> str:
    """List the first few names: ``a, b, c and 4 more``."""
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def amount(name: str, number: Decimal) -> str:
    """Write an amount of a resource as Kubernetes would; bytes in GiB or MiB where there are many."""
    for unit, size in (("Gi", _GIBIBYTE), ("Mi", _MEBIBYTE)):
        if _is_bytes(name) and number >= size:
            return f"{float(number / size):.4g}{unit}"
    return f"{number.normalize():f}"


def enough(name: str, number: Decimal) -> str:
    """Write an amount that is no less than this one: what is rounded off bytes would be lacking."""
    if not _is_bytes(name):
        return amount(name, number)
    gibibytes, rest = divmod(ceil(number / _MEBIBYTE), 1024)
    return f"{gibibytes * 1024 + rest}Mi" if rest else f"{gibibytes}Gi"


def _is_bytes(name: str) -> bool:
    return name in _BYTES or name.startswith("hugepages-")


def remedy(name: str) -> str:
    """Say what provides a resource, label, DeviceClass or kind, and what to run."""
    provider = provider_of(name)
    if provider is None:
        return "See: kubectl describe nodes"
    note = f" ({provider.note})" if provider.note else ""
    return f"It comes with {provider.name}. Run: {provider.install}{note}"


def source(name: str, otherwise: str) -> str:
    """Return the document about what provides something, or another one where nothing is known to."""
    provider = provider_of(name)
    return otherwise if provider is None else provider.source
