"""What the embedded cluster asks of the machine: rights, and Debian packages that it installs."""

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from testcluster.commands import logged, output, succeeds
from testcluster.console import Progress
from testcluster.errors import ClusterError
from testcluster.paths import Paths

ALTERNATIVES = (
    "install Docker and kind, or point to a cluster: CLUSTER=existing with KUBECONFIG, "
    "DISAGG_OPERATOR_IMAGE and DISAGG_WORKER_IMAGE set"
)


# What a node needs of root's rights, by their bits: a container's root often has neither.
CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_SYS_ADMIN": 21}


@dataclass(frozen=True)
class Package:
    """A Debian package and a file or program that shows it is there."""

    name: str
    evidence: str


NODE_PACKAGES = (
    Package("containerd", "containerd"),
    Package("runc", "runc"),
    Package("containernetworking-plugins", "/usr/lib/cni/bridge"),
    Package("iptables", "iptables-save"),
    Package("iproute2", "ip"),
    Package("conntrack", "conntrack"),
    Package("ipset", "ipset"),
    Package("ethtool", "ethtool"),
    Package("socat", "socat"),
    Package("mount", "mount"),
    Package("kmod", "modprobe"),
)
IMAGE_PACKAGES = (
    Package("buildah", "buildah"),
    Package("mmdebstrap", "mmdebstrap"),
    Package("ca-certificates", "/etc/ssl/certs/ca-certificates.crt"),
)
MPI_PACKAGES = (
    # A virtual environment has an mpirun as well, which pods that see this machine's /usr do not find.
    Package("openmpi-bin", "/usr/bin/mpirun"),
    Package("openssh-client", "ssh"),
    Package("openssh-server", "sshd"),
    Package("iproute2", "ip"),
)


def missing_packages(packages: Iterable[Package]) -> list[str]:
    """The names of packages whose evidence is not on this machine."""
    search = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return [
        package.name
        for package in packages
        if not (
            Path(package.evidence).exists()
            if package.evidence.startswith("/")
            else shutil.which(package.evidence, path=search)
        )
    ]


def ensure_packages(packages: Iterable[Package], paths: Paths, progress: Progress) -> None:
    """Install what is missing with apt-get.

    Raises:
        ClusterError: If something is missing and this machine has no apt-get, or we are not root.
    """
    missing = missing_packages(packages)
    if not missing:
        return
    names = " ".join(missing)
    if shutil.which("apt-get") is None:
        raise ClusterError(
            f"these programs are missing: {names}",
            remedy="install them (the names are Debian's), then try again",
        )
    if os.geteuid() != 0:
        raise ClusterError(f"these packages are missing: {names}", remedy=f"sudo apt-get install {names}")
    log = paths.build_logs / "apt.log"
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    with progress.step(f"Install Debian packages: {names}"):
        logged(["apt-get", "update", "-q"], log, env=env)
        logged(["apt-get", "install", "-q", "-y", "--no-install-recommends", *missing], log, env=env)


def require_rights() -> None:
    """Check that this process may do what a Kubernetes node does.

    Raises:
        ClusterError: Naming the first right that is missing, and the alternatives.
    """
    if os.geteuid() != 0:
        raise ClusterError(
            "the embedded cluster needs root: it mounts, makes networks and cgroups", remedy=ALTERNATIVES
        )
    lacking = missing_capabilities(Path("/proc/self/status").read_text(encoding="utf-8"))
    if lacking:
        raise ClusterError(
            f"the embedded cluster makes mounts and networks, and this process lacks {' and '.join(lacking)}",
            remedy=ALTERNATIVES,
        )
    if not succeeds(["unshare", "--mount", "--net", "mount", "-t", "tmpfs", "none", "/mnt"]):
        raise ClusterError("this machine lets us make no mounts or network namespaces", remedy=ALTERNATIVES)
    hierarchy = Path("/sys/fs/cgroup/memory")
    probe = (hierarchy if hierarchy.is_dir() else hierarchy.parent) / f"disagg-probe-{os.getpid()}"
    try:
        probe.mkdir()
        probe.rmdir()
    except OSError:
        raise ClusterError(
            f"this machine lets us make no cgroups in {probe.parent}", remedy=ALTERNATIVES
        ) from None


def missing_capabilities(status: str) -> list[str]:
    """The capabilities that a node needs and the text of a /proc/PID/status does not list as effective."""
    effective = next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:"))
    return [name for name, bit in CAPABILITIES.items() if not int(effective, 16) >> bit & 1]


def overlay_works(directory: Path) -> bool:
    """Whether an overlay can be mounted on this folder's filesystem (not where it is an overlay itself)."""
    probe = directory / "overlay-probe"
    folders = [probe / name for name in ("lower", "upper", "work", "merged")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    lower, upper, work, merged = map(str, folders)
    options = f"lowerdir={lower},upperdir={upper},workdir={work}"
    try:
        output(["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, merged])
    except ClusterError:
        return False
    finally:
        shutil.rmtree(probe, ignore_errors=True)
    return True
