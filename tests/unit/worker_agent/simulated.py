"""Simulated /sys and /proc trees, as the kernel would show them in a pod. No hardware is behind them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

AMAZON, MELLANOX = "0x1d0f", "0x15b3"
# A port of a p5's EFA, names as in the kernel's efa_verbs.c; values are made up.
EFA_COUNTERS = {
    "lifespan": 12,
    "tx_bytes": 1000,
    "rx_bytes": 2000,
    "rdma_read_bytes": 300,
    "rdma_write_bytes": 0,
    "retrans_bytes": 0,
    "unresponsive_remote_events": 0,
}
MLX5_COUNTERS = {"port_xmit_data": 250, "port_rcv_data": 500, "port_rcv_errors": 3}


class Node:
    """The trees of one pod.

    Args:
        directory: An empty directory.
    """

    def __init__(self, directory: Path) -> None:
        self.sys, self.proc, self.directory = directory / "sys", directory / "proc", directory
        (self.sys / "class").mkdir(parents=True)
        (self.proc / "net").mkdir(parents=True)

    def device(
        self,
        name: str,
        *,
        uverbs: int,
        vendor: str = AMAZON,
        link_layer: str = "Unspecified",
        state: str = "4: ACTIVE",
        counters: Mapping[str, object] | None = None,
        hw_counters: Mapping[str, object] | None = None,
    ) -> Path:
        """Add a device of one port; returns the port's directory."""
        port = self.sys / "class" / "infiniband" / name / "ports" / "1"
        write(port / "state", state)
        write(port / "link_layer", link_layer)
        write(port.parents[1] / "device" / "vendor", vendor)
        write(self.sys / "class" / "infiniband_verbs" / f"uverbs{uverbs}" / "ibdev", name)
        for group, values in (("counters", counters), ("hw_counters", hw_counters)):
            for counter, value in (values or {}).items():
                write(port / group / counter, value)
        return port

    def process(
        self,
        pid: int,
        name: str = "python3",
        libraries: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Path:
        """Add a process with an empty root; returns its directory."""
        directory = self.proc / str(pid)
        write(directory / "comm", name)
        lines = [
            "55d0c8a00000-55d0c8a02000 r-xp 00000000 fe:01 1234                       /usr/bin/python3.11",
            "7ffd1c5e0000-7ffd1c601000 rw-p 00000000 00:00 0                          [stack]",
            *(
                f"7f00000{i:02x}000-7f00000{i:02x}800 r-xp 00000000 fe:01 {i + 1}     {library}"
                for i, library in enumerate(libraries)
            ),
        ]
        write(directory / "maps", "\n".join(lines))
        write(directory / "environ", "\0".join(f"{k}={v}" for k, v in (environment or {}).items()))
        (directory / "root").mkdir()
        (directory / "fd").mkdir()
        return directory

    def interfaces(self, **bytes_: tuple[int, int]) -> None:
        """Write /proc/net/dev with received and sent bytes of each interface."""
        head = "Inter-|   Receive                     |  Transmit\n face |bytes packets errs drop …|bytes …\n"
        rows = [f"{name:>6}: {rx} 5 0 0 0 0 0 0 {tx} 6 0 0 0 0 0 0\n" for name, (rx, tx) in bytes_.items()]
        write(self.proc / "net" / "dev", head + "".join(rows))


def write(path: Path, content: object) -> None:
    """Write one value as the kernel does, with a line's end; directories are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{content}\n")
