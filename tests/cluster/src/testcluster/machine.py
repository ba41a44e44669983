"""What the embedded cluster changes on the machine beyond its own folders, and putting it back.

Invariant: what was there before the first `up` is written down before anything is changed; `down` restores
from that record and removes nothing that it names.
"""

import json
import subprocess
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from testcluster.commands import output
from testcluster.errors import ClusterError
from testcluster.iptables import chains, removal
from testcluster.requirements import ALTERNATIVES

# Set by the bridge plugin, kubelet and kube-proxy.
SYSCTLS = (
    "net/ipv4/ip_forward",
    "net/ipv4/conf/all/route_localnet",
    "net/bridge/bridge-nf-call-iptables",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)
FAMILIES = ("iptables", "ip6tables")
# Folders whose paths the node's parts do not let us choose.
SHARED_FOLDERS = (
    "/var/lib/cni",
    "/var/lib/kubelet",
    "/var/log/containers",
    "/var/log/pods",
    "/run/containerd",
)
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Before:
    """The machine as it was.

    Args:
        sysctls: Kernel settings by their path below /proc/sys.
        chains: Packet filter chains by family.
        folders: Those of the shared folders that existed.
    """

    sysctls: dict[str, str]
    chains: dict[str, list[str]]
    folders: list[str]


def pod_cgroups() -> list[Path]:
    """The cgroups that a kubelet makes for pods, one in each hierarchy."""
    return sorted(
        path for pattern in ("kubepods", "*/kubepods") for path in CGROUPS.glob(pattern) if path.is_dir()
    )


def remember(path: Path) -> None:
    """Write down the machine as it is, unless that was done before.

    Raises:
        ClusterError: If another Kubernetes node runs on this machine.
    """
    if path.exists():
        return
    if pod_cgroups():
        raise ClusterError(
            "another Kubernetes node runs on this machine (its pod cgroups exist)", remedy=ALTERNATIVES
        )
    with suppress(ClusterError):
        output(["modprobe", "br_netfilter"])
    before = Before(
        sysctls={name: _sysctl(name) for name in SYSCTLS if (Path("/proc/sys") / name).exists()},
        chains={family: chains(output([f"{family}-save"])) for family in FAMILIES},
        folders=[folder for folder in SHARED_FOLDERS if Path(folder).exists()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(before), indent=1), encoding="utf-8")


def restore(path: Path) -> None:
    """Put back what `remember` wrote down. Harmless if there is nothing."""
    if not path.exists():
        return
    before = Before(**json.loads(path.read_text(encoding="utf-8")))
    for family in FAMILIES:
        script = removal(output([f"{family}-save"]), before.chains[family])
        if script:
            output([f"{family}-restore", "--noflush"], stdin=script)
    for name, value in before.sysctls.items():
        set_sysctl(name, value)
    for folder in SHARED_FOLDERS:
        if folder not in before.folders:
            _prune_empty(Path(folder))


def set_sysctl(name: str, value: str) -> None:
    """Set a kernel setting, given as its path below /proc/sys, if it differs."""
    path = Path("/proc/sys") / name
    if path.exists() and _sysctl(name) != value:
        path.write_text(value, encoding="utf-8")


def bridge_is_filtered() -> bool:
    """Whether packets between two pods of the bridge pass the packet filter, as Services need."""
    return (Path("/proc/sys") / "net/bridge/bridge-nf-call-iptables").exists()


def unmount_below(*roots: Path) -> None:
    """Unmount everything mounted on or below the folders, the innermost first."""
    points = mount_points(Path("/proc/self/mountinfo").read_text(encoding="utf-8"))
    for point in sorted(points, key=len, reverse=True):
        if any(Path(point).is_relative_to(root) for root in roots):
            subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)


def mount_points(mountinfo: str) -> list[str]:
    """The mount points in the text of /proc/self/mountinfo."""
    return [line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines()]


def _sysctl(name: str) -> str:
    return (Path("/proc/sys") / name).read_text(encoding="utf-8").strip()


def _prune_empty(folder: Path) -> None:
    for inner in sorted(folder.rglob("*"), key=lambda path: len(path.parts), reverse=True):
        if inner.is_dir() and not inner.is_symlink():
            with suppress(OSError):
                inner.rmdir()
    with suppress(OSError):
        folder.rmdir()
