"""RDMA devices and their counters, from /sys/class/infiniband.

EFA counts bytes in hw_counters; InfiniBand and RoCE devices count words of four bytes in counters
(`port_xmit_data`, `port_rcv_data`: InfiniBand Architecture, PortCountersExtended). Both become `tx_bytes` and
`rx_bytes`. In a pod with a network namespace of its own the kernel shows devices without any counters, unless
RDMA's own namespaces are exclusive: then the counters come over RDMA netlink, or from the node's /sys.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from disagg_worker.agent.evidence import Device, DeviceKind
from disagg_worker.agent.reading import Unread, names, read_text, reason

Counters = dict[str, int]
Netlink = Callable[[], Mapping[tuple[str, int], Mapping[str, int]]]

_AMAZON, _MELLANOX = "0x1d0f", "0x15b3"
_WORD = 4
_LARGEST = 2**64 - 1
_WORDS = {"tx_bytes": "port_xmit_data", "rx_bytes": "port_rcv_data"}
_NOT_COUNTERS = {"lifespan"}
_UVERBS = re.compile(r"uverbs\d+")
_HIDDEN = (
    "the kernel shows this pod no counters of it, neither in /sys nor over RDMA netlink; "
    "mount the node's /sys read-only and name it to the agent (DISAGG_AGENT_SYS_ROOT)"
)


def read_devices(
    sys: Path, given: Collection[str] | None, netlink: Netlink, unread: Unread
) -> tuple[Device, ...]:
    """Read every port of every RDMA device.

    Args:
        sys: Root of the sys file system.
        given: Names of uverbs files in the engine's container; None where unknown.
        netlink: Reads the counters over RDMA netlink; called only when /sys shows none. Raises OSError.
        unread: Gets notes of what could not be read.
    """
    try:
        devices = names(sys / "class" / "infiniband")
    except FileNotFoundError:
        return ()  # no RDMA on this node
    except OSError as error:
        unread.add("RDMA devices", error)
        return ()
    uverbs = _uverbs(sys, unread)
    ports = [port for name in devices for port in _ports(sys, name, uverbs.get(name), given, unread)]
    return tuple(_with_netlink(ports, netlink, unread))


def device_files(roots: Collection[Path], unread: Unread) -> tuple[str, ...] | None:
    """List RDMA device files in the engine's containers.

    Args:
        roots: Root directories of the engine's processes.
        unread: Gets notes of directories that may not be read.

    Returns:
        Paths as the engine sees them; None when no root could be looked into.
    """
    files: set[str] = set()
    seen = False
    for root in roots:
        try:
            files.update(f"/dev/infiniband/{name}" for name in names(root / "dev" / "infiniband"))
        except FileNotFoundError:
            pass
        except OSError as error:
            unread.add("device files of the engine", error)
            continue
        seen = True
    return tuple(sorted(files)) if seen else None


def _uverbs(sys: Path, unread: Unread) -> dict[str, str]:
    """Map devices to their uverbs files."""
    directory = sys / "class" / "infiniband_verbs"
    found = {}
    try:
        for name in filter(_UVERBS.fullmatch, names(directory)):
            found[read_text(directory / name / "ibdev").strip()] = name
    except OSError as error:
        unread.add("names of the RDMA device files", error)
    return found


def _ports(
    sys: Path, name: str, uverbs: str | None, given: Collection[str] | None, unread: Unread
) -> Iterator[Device]:
    directory = sys / "class" / "infiniband" / name
    own = _counters(directory / "hw_counters", name, unread)
    try:
        ports = sorted(int(port) for port in names(directory / "ports") if port.isdigit())
    except OSError as error:
        unread.add(f"device {name}", error)
        return
    for port in ports:
        below = directory / "ports" / str(port)
        link_layer = _word(below / "link_layer")
        counters = own | _counters(below / "counters", name, unread)
        counters |= _counters(below / "hw_counters", name, unread)
        yield Device(
            name=name,
            kind=_kind(directory, name, link_layer),
            port=port,
            state=_word(below / "state").rpartition(": ")[2],
            link_layer=link_layer,
            given=None if given is None or uverbs is None else f"/dev/infiniband/{uverbs}" in given,
            counters=_in_bytes(counters),
        )


def _with_netlink(ports: list[Device], netlink: Netlink, unread: Unread) -> Iterator[Device]:
    """Complete ports that count no bytes in /sys."""
    if all("tx_bytes" in port.counters for port in ports):
        yield from ports
        return
    try:
        counted = netlink()
    except OSError as error:
        unread.add("counters over RDMA netlink", reason(error))
        counted = {}
    for port in ports:
        counters = dict(counted.get((port.name, port.port), {})) | dict(port.counters)
        if not counters:
            unread.add(f"counters of {port.name}", _HIDDEN)
        yield Device(
            port.name, port.kind, port.port, port.state, port.link_layer, port.given, _in_bytes(counters)
        )


def _counters(directory: Path, device: str, unread: Unread) -> Counters:
    try:
        found = [name for name in names(directory) if name not in _NOT_COUNTERS]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        unread.add(f"counters of {device}", error)
        return {}
    counters = {}
    for name in found:
        try:
            text = read_text(directory / name, 64).strip()
        except OSError as error:
            unread.add(f"counter {name} of {device}", error)
            continue
        if text.isascii() and text.isdigit() and int(text) <= _LARGEST:
            counters[name] = int(text)
        else:
            unread.add(f"counter {name} of {device}", f"holds no number but {text[:32]!r}")
    return counters


def _in_bytes(counters: Mapping[str, int]) -> Counters:
    words = {byte: counters[word] * _WORD for byte, word in _WORDS.items() if word in counters}
    return words | dict(counters)


def _kind(directory: Path, name: str, link_layer: str) -> DeviceKind:
    vendor = _word(directory / "device" / "vendor")
    if vendor:
        return "efa" if vendor == _AMAZON else "mlx5" if vendor == _MELLANOX else "other"
    # The names of rdma-core's udev rule: "rdmap…" is a device that is neither InfiniBand, RoCE nor iWARP.
    if name.startswith("rdmap") and link_layer == "Unspecified":
        return "efa"
    return "mlx5" if name.startswith("mlx5_") else "other"


def _word(path: Path) -> str:
    """Read a file of one word; empty when it cannot be read."""
    try:
        return read_text(path, 256).strip()
    except OSError:
        return ""
