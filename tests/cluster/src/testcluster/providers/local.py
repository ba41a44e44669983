"""The embedded cluster: real parts of Kubernetes as processes of this machine, with one node."""

import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import yaml

from testcluster import machine, node
from testcluster.archives import single_program_archive
from testcluster.commands import output, succeeds
from testcluster.console import Progress
from testcluster.controlplane import ControlPlane
from testcluster.digest import text_digest
from testcluster.errors import ClusterError
from testcluster.kubectl import Kubectl
from testcluster.locking import exclusive
from testcluster.paths import Paths
from testcluster.processes import Supervisor
from testcluster.providers.base import Image, Part, ProviderName
from testcluster.requirements import NODE_PACKAGES, ensure_packages, overlay_works, require_rights
from testcluster.runtime import Runtime, end_containers, remove_traces
from testcluster.toolchain import Tools, ensure_tools
from testcluster.waiting import wait_for

NODE_PROCESSES = ("kubelet", "kube-proxy", "coredns", "containerd")
CONTROL_PROCESSES = ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd")
READY_SECONDS = 90.0
# Nothing that these processes hold outlives the cluster, so they get no time for a long farewell.
STOP_SECONDS = 2.0
RESOLV_CONFS = (Path("/run/systemd/resolve/resolv.conf"), Path("/etc/resolv.conf"))


class LocalProvider:
    """One node on this machine, with folders, sockets, a bridge and network ranges of its own."""

    name: ProviderName = "local"

    def __init__(self, paths: Paths, progress: Progress) -> None:
        self.paths = paths
        self.progress = progress
        self.files = node.NodeFiles(paths)
        self.runtime = Runtime(self.files)
        self.supervisor = Supervisor(paths.state / "pids", paths.logs)
        self.plane_directory = paths.state / "control-plane"
        self.kubeconfig = self.plane_directory / "kubeconfig"
        self.audit_log: Path | None = self.plane_directory / "audit.log"
        self.before = paths.state / "before.json"

    def up(self) -> None:
        """Start every part that does not run, and wait until the node takes pods."""
        require_rights()
        with self._locked():
            ensure_packages(NODE_PACKAGES, self.paths, self.progress)
            tools = ensure_tools(self.paths, self.progress)
            machine.remember(self.before)
            with self.progress.step("Make the pod network"):
                self._make_bridge()
            plane = ControlPlane(self.plane_directory, node.ENDPOINTS, tools, self.supervisor)
            with self.progress.step("Start etcd and the control plane"):
                plane.start(scheduler=True)
            with self.progress.step("Start containerd"):
                self._start_containerd(tools)
            with self.progress.step("Start the node: kubelet, kube-proxy, cluster DNS"):
                self._start_node(plane, tools)

    def down(self) -> None:
        """End exactly our processes and containers, and put the machine back as it was."""
        require_rights()
        with self._locked():
            if not self.paths.state.exists() and not self.paths.run.exists():
                self.progress.note("No embedded cluster on this machine.")
                return
            with self.progress.step("Remove the embedded cluster"):
                for name in (node.POLICY_ENGINE, "kubelet", "kube-proxy", "coredns"):
                    self.supervisor.stop(name, grace_seconds=STOP_SECONDS)
                end_containers(self.files)
                for name in ("containerd", *CONTROL_PROCESSES):
                    self.supervisor.stop(name, grace_seconds=STOP_SECONDS)
                machine.unmount_below(self.paths.run, self.paths.state)
                if succeeds(["ip", "link", "show", node.BRIDGE]):
                    output(["ip", "link", "delete", node.BRIDGE])
                remove_traces(self.files)
                machine.restore(self.before)
                for folder in (self.paths.run, self.paths.state):
                    shutil.rmtree(folder)

    def status(self) -> Sequence[Part]:
        """The processes, the API server and the node."""
        parts = [
            Part(name, self.supervisor.alive(name), str(self.supervisor.log(name)))
            for name in (*reversed(CONTROL_PROCESSES), *NODE_PROCESSES)
        ]
        ready = all(part.healthy for part in parts) and self._node_ready(self._kubectl())
        return [*parts, Part("node", ready, "Ready" if ready else "not Ready")]

    def load(self, images: Sequence[Image]) -> None:
        """Import the images that containerd does not hold."""
        with self._locked():
            held = self.runtime.references()
            for image in images:
                if image.archive is not None and image.reference not in held:
                    with self.progress.step(f"Load {image.reference}"):
                        self.runtime.load(image.archive, snapshotter=self._snapshotter())

    def _locked(self) -> AbstractContextManager[None]:
        return exclusive(
            Path("/run/lock/disagg-cluster.lock"),
            lambda: self.progress.note("Another run is at work here; waiting …"),
        )

    def _make_bridge(self) -> None:
        machine.set_sysctl("net/ipv4/ip_forward", "1")
        machine.set_sysctl("net/bridge/bridge-nf-call-iptables", "1")
        if not succeeds(["ip", "link", "show", node.BRIDGE]):
            addresses = json.loads(output(["ip", "-json", "-4", "address"]))
            taken = {entry["local"] for link in addresses for entry in link["addr_info"]}
            if node.BRIDGE_ADDRESS in taken:
                raise ClusterError(
                    f"{node.BRIDGE_ADDRESS} is in use on this machine", remedy="free 10.244.0.0/24"
                )
            output(["ip", "link", "add", node.BRIDGE, "type", "bridge"])
        output(["ip", "address", "replace", f"{node.BRIDGE_ADDRESS}/24", "dev", node.BRIDGE])
        output(["ip", "link", "set", node.BRIDGE, "up"])

    def _start_containerd(self, tools: Tools) -> None:
        program = Path(tools.path("pause"))
        pause = f"disagg.local/pause:{text_digest(program.read_bytes().hex())}"
        snapshotter = self._snapshotter()
        settings = node.containerd_config(self.files, pause, overlay=snapshotter == "overlayfs")
        config = self._configuration("containerd", settings)
        self.files.cni.mkdir(parents=True, exist_ok=True)
        (self.files.cni / "10-disagg.conflist").write_text(node.cni_config(self.files), encoding="utf-8")
        self.paths.run.mkdir(parents=True, exist_ok=True)
        self.supervisor.ensure("containerd", ["containerd", "--config", str(config)])
        self._wait("containerd", self.runtime.serves)
        if pause not in self.runtime.references():
            archive = self.paths.state / "pause.tar"
            archive.write_bytes(single_program_archive(pause, program))
            self.runtime.load(archive, snapshotter=snapshotter)

    def _snapshotter(self) -> str:
        """The snapshotter, decided once: the images are unpacked for it."""
        choice = self.paths.state / "snapshotter"
        if not choice.exists():
            choice.write_text("overlayfs" if overlay_works(self.paths.state) else "native", encoding="utf-8")
        return choice.read_text(encoding="utf-8")

    def _start_node(self, plane: ControlPlane, tools: Tools) -> None:
        resolv = _resolv_conf()
        self.supervisor.ensure("kubelet", self._kubelet_command(plane, tools, resolv))
        proxy = plane.credentials("kube-proxy", "system:kube-proxy", [])
        proxy_settings = node.proxy_config(proxy, masquerade_all=not machine.bridge_is_filtered())
        proxy_file = self._configuration("kube-proxy", yaml.safe_dump(proxy_settings))
        self.supervisor.ensure("kube-proxy", [tools.path("kube-proxy"), f"--config={proxy_file}"])
        dns = plane.credentials("coredns", "system:coredns", ["system:masters"])
        corefile = self._configuration("coredns", node.corefile(dns, str(resolv) if resolv else None))
        self.supervisor.ensure("coredns", [tools.path("coredns"), "-conf", str(corefile)])
        kubectl = Kubectl(tools.path("kubectl"), plane.kubeconfig)
        kubectl.apply(node.dns_objects())
        self._wait("kubelet", lambda: self._node_ready(kubectl))
        self._wait("coredns", lambda: _answers(f"http://127.0.0.1:{node.DNS_READY_PORT}/ready"))
        self._wait("kube-proxy", lambda: _answers(f"http://127.0.0.1:{node.PROXY_HEALTH_PORT}/healthz"))

    def _kubelet_command(self, plane: ControlPlane, tools: Tools, resolv: Path | None) -> list[str]:
        credentials = plane.credentials("kubelet", f"system:node:{node.NODE}", ["system:nodes"])
        server = plane.authority.issue("kubelet-server", node.NODE, hosts=[node.NODE, node.BRIDGE_ADDRESS])
        settings = node.kubelet_config(
            self.files,
            plane.authority.identity.certificate,
            server.certificate,
            server.key,
            str(resolv or ""),
        )
        config = self._configuration("kubelet", yaml.safe_dump(settings))
        return [
            tools.path("kubelet"),
            f"--config={config}",
            f"--kubeconfig={credentials}",
            f"--root-dir={self.files.kubelet}",
            f"--hostname-override={node.NODE}",
            f"--node-ip={node.BRIDGE_ADDRESS}",
        ]

    def _configuration(self, name: str, text: str) -> Path:
        """Write a configuration by its content: other settings are another command line, so a restart."""
        path = self.paths.state / "configuration" / f"{name}-{text_digest(text)}"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return path

    def _kubectl(self) -> Kubectl:
        return Kubectl(ensure_tools(self.paths, self.progress).path("kubectl"), self.kubeconfig)

    def _node_ready(self, kubectl: Kubectl) -> bool:
        path = '{.status.conditions[?(@.type=="Ready")].status}'
        try:
            return kubectl.text("get", "node", node.NODE, "-o", f"jsonpath={path}") == "True"
        except ClusterError:
            return False

    def _wait(self, name: str, healthy: Callable[[], bool]) -> None:
        wait_for(self.supervisor, name, healthy, seconds=READY_SECONDS)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def _resolv_conf() -> Path | None:
    """The file that names the machine's real DNS servers, not a resolver on its own loopback."""
    for path in RESOLV_CONFS:
        if path.exists() and "nameserver" in path.read_text(encoding="utf-8"):
            return path
    return None
