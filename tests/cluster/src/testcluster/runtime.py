"""The node's containerd: importing images, and ending every container of ours and of nobody else."""

import os
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path

from testcluster.commands import output
from testcluster.errors import ClusterError
from testcluster.machine import pod_cgroups
from testcluster.node import NodeFiles
from testcluster.processes import command_lines

LEGACY_LOGS = Path("/var/log/containers")
NETWORK_RESULTS = Path("/var/lib/cni")
RUNC_STATES = Path("/run/containerd/runc/k8s.io")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")
DEVICE_PLUGIN_TRACES = ("kubelet.sock", "kubelet_internal_checkpoint", "fakedevices-*.sock")


class Runtime:
    """A containerd by its socket."""

    def __init__(self, files: NodeFiles) -> None:
        self.files = files

    def serves(self) -> bool:
        """Whether it answers."""
        try:
            self._ctr("version", timeout=5)
        except ClusterError:
            return False
        return True

    def references(self) -> set[str]:
        """The names of the images it holds."""
        return set(self._ctr("images", "ls", "-q").split())

    def load(self, archive: Path, *, snapshotter: str) -> None:
        """Import and unpack an image archive."""
        self._ctr("images", "import", "--snapshotter", snapshotter, str(archive), timeout=600)

    def remove(self, reference: str) -> None:
        """Remove an image."""
        self._ctr("images", "rm", reference)

    def _ctr(self, *arguments: str, timeout: float = 60) -> str:
        return output(
            ["ctr", "--address", str(self.files.socket), "-n", "k8s.io", *arguments], timeout=timeout
        )


def end_containers(files: NodeFiles) -> None:
    """End all pods' processes and the shims that hold them, and remove their cgroups.

    The pods' cgroups are ours alone, since `up` refuses a machine with another node; a shim is ours if its
    command line names our containerd's socket.
    """
    # Listed first: containerd forgets a shim that died, but not always its socket.
    sockets = [
        Path(file.read_text(encoding="utf-8").removeprefix("unix://")) for file in _address_files(files)
    ]
    for _ in range(50):
        alive = [*_pod_processes(), *_shims(files)]
        if not alive:
            break
        for pid in alive:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    for shim_socket in sockets:
        shim_socket.unlink(missing_ok=True)
    for root in pod_cgroups():
        _remove_cgroups(root)


def remove_traces(files: NodeFiles) -> None:
    """Remove what the node's parts left in folders whose paths are fixed and that others use too."""
    if LEGACY_LOGS.is_dir():
        for link in LEGACY_LOGS.iterdir():
            if link.is_symlink() and link.readlink().is_relative_to(files.pod_logs):
                link.unlink()
    # A network's result names the network namespace, and ours lie in our folder.
    for result in NETWORK_RESULTS.glob("results/*"):
        if str(files.paths.run) in result.read_text(encoding="utf-8", errors="replace"):
            result.unlink()
    # runc's record of a container that was killed names its bundle, and ours lie in our folder.
    for record in RUNC_STATES.glob("*/state.json"):
        if str(files.paths.run) in record.read_text(encoding="utf-8", errors="replace"):
            shutil.rmtree(record.parent)
    # The kubelet's, whatever its root folder; `up` refuses a machine with another kubelet.
    for pattern in DEVICE_PLUGIN_TRACES:
        for trace in DEVICE_PLUGINS.glob(pattern):
            trace.unlink()


def _address_files(files: NodeFiles) -> list[Path]:
    return list(files.containerd_run.glob("io.containerd.runtime.v2.task/*/*/address"))


def _pod_processes() -> list[int]:
    found: set[int] = set()
    for root in pod_cgroups():
        for folder in _folders(root):
            with suppress(OSError):
                members = (folder / "cgroup.procs").read_text(encoding="utf-8")
                found.update(map(int, members.split()))
    return sorted(found - {0})


def _shims(files: NodeFiles) -> list[int]:
    marks = (b"containerd-shim", f"-address\0{files.socket}\0".encode())
    return [pid for pid, line in command_lines() if all(mark in line for mark in marks)]


def _remove_cgroups(root: Path) -> None:
    for folder in reversed(_folders(root)):
        with suppress(OSError):
            folder.rmdir()


def _folders(root: Path) -> list[Path]:
    """Return a folder and those in it, outer ones first; `walk` goes on where one vanishes."""
    return [Path(folder) for folder, _, _ in os.walk(root)]
