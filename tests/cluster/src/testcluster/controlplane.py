"""A control plane of real parts: etcd, kube-apiserver, kube-controller-manager, and kube-scheduler for nodes.

The embedded cluster and the `apiserver` test fixture both start theirs here; they differ in addresses only.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from testcluster.kubeconfig import write_kubeconfig
from testcluster.pki import Authority, Identity
from testcluster.ports import free_ports
from testcluster.processes import Supervisor
from testcluster.toolchain import Tools
from testcluster.waiting import wait_for

SERVICE_RANGE = "10.96.0.0/16"
API_SERVICE_ADDRESS = "10.96.0.1"
READY_SECONDS = 60.0
# Without raised limits the controller manager's own throttle (20 requests/s) is what a test would measure.
CLIENT_LIMITS = ("--kube-api-qps=1000", "--kube-api-burst=1000")
FRONT_PROXY = "front-proxy-client"
"""Name by which the API server passes requests on to other API servers."""
AUTOSCALER_PERIOD = "2s"
"""How often a HorizontalPodAutoscaler looks; the stock 15 s are what a test would wait for."""
USUAL_ADMISSION = ("OwnerReferencesPermissionEnforcement",)
"""Off by default and on in some distributions: objects of ours have to get past it there too."""
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass(frozen=True)
class Endpoints:
    """Where the parts listen.

    Args:
        host: Address of the API server.
        port: Port of the API server.
        etcd: Client port of etcd, on the loopback.
        etcd_peer: Peer port of etcd, on the loopback.
        controller_manager: Port of the controller manager, on the loopback.
        scheduler: Port of the scheduler, on the loopback.
        advertised: Whether pods reach the API server at `host`; if not, no endpoints are published.
    """

    host: str
    port: int
    etcd: int
    etcd_peer: int
    controller_manager: int
    scheduler: int
    advertised: bool

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://{self.host}:{self.port}"

    @classmethod
    def free(cls) -> "Endpoints":
        """Ports of the loopback that are free now, for a control plane with no node."""
        port, etcd, etcd_peer, controller_manager, scheduler = free_ports(5)
        return cls("127.0.0.1", port, etcd, etcd_peer, controller_manager, scheduler, advertised=False)


def etcd_command(program: str, data: Path, endpoints: Endpoints) -> list[str]:
    """The command line of etcd."""
    client = f"http://127.0.0.1:{endpoints.etcd}"
    peer = f"http://127.0.0.1:{endpoints.etcd_peer}"
    return [
        program,
        f"--data-dir={data}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # A test cluster loses nothing of value with the machine; waiting for the disk is most of a write.
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


@dataclass(frozen=True)
class Features:
    """What a control plane has switched on that is off by default.

    Args:
        gates: Feature gates of all its parts, such as `GenericWorkload`.
        apis: Versions that its API server serves besides, such as `scheduling.k8s.io/v1beta1`.
        admission: Admission plugins of its API server, such as `PodNodeSelector`.
    """

    gates: tuple[str, ...] = ()
    apis: tuple[str, ...] = ()
    admission: tuple[str, ...] = ()

    @property
    def flags(self) -> list[str]:
        """Flags of every part."""
        return [f"--feature-gates={','.join(f'{gate}=true' for gate in self.gates)}"] if self.gates else []

    @property
    def server_flags(self) -> list[str]:
        """Flags of the API server."""
        served = [f"--runtime-config={','.join(f'{api}=true' for api in self.apis)}"] if self.apis else []
        admission = f"--enable-admission-plugins={','.join((*USUAL_ADMISSION, *self.admission))}"
        return [*self.flags, *served, admission]


class ControlPlane:
    """The control plane in a folder.

    Args:
        directory: Holds its data, certificates, kubeconfig and audit log.
        endpoints: Where its parts listen.
        tools: The programs.
        supervisor: Starts and ends the processes.
        features: What is switched on that is off by default.
    """

    def __init__(
        self,
        directory: Path,
        endpoints: Endpoints,
        tools: Tools,
        supervisor: Supervisor,
        features: Features = Features(),
    ) -> None:
        self.directory = directory
        self.endpoints = endpoints
        self.tools = tools
        self.supervisor = supervisor
        self.features = features
        self.kubeconfig = directory / "kubeconfig"
        self.audit_log = directory / "audit.log"
        directory.mkdir(parents=True, exist_ok=True)
        self.authority = Authority(directory / "pki")
        self.front_proxy = Authority(directory / "front-proxy")

    def start(self, *, scheduler: bool) -> None:
        """Start what does not run and wait until the API server serves.

        Raises:
            ClusterError: If it does not become ready within a minute; names the log.
        """
        admin = self.authority.issue("admin", "disagg-admin", groups=["system:masters"])
        write_kubeconfig(self.kubeconfig, self.endpoints.server, self.authority.identity.certificate, admin)
        etcd = etcd_command(self.tools.path("etcd"), self.directory / "etcd", self.endpoints)
        self.supervisor.ensure("etcd", etcd)
        self.supervisor.ensure("kube-apiserver", self._apiserver_command())
        self._wait_ready(admin)
        self.supervisor.ensure("kube-controller-manager", self._controller_manager_command())
        if scheduler:
            self.supervisor.ensure("kube-scheduler", self._scheduler_command())
        # Until the controller manager made it, no pod can be created in the default namespace.
        self._wait(
            "kube-controller-manager",
            self._answers(admin, "/api/v1/namespaces/default/serviceaccounts/default"),
        )

    def stop(self) -> None:
        """End all parts, the dependent ones first."""
        for name in ("kube-scheduler", "kube-controller-manager", "kube-apiserver", "etcd"):
            self.supervisor.stop(name)

    def credentials(self, name: str, common_name: str, groups: list[str]) -> Path:
        """A kubeconfig for a component, in the certificates' folder."""
        user = self.authority.issue(name, common_name, groups=groups)
        path = self.authority.directory / f"{name}.kubeconfig"
        return write_kubeconfig(path, self.endpoints.server, self.authority.identity.certificate, user)

    def _wait_ready(self, admin: Identity) -> None:
        self._wait("kube-apiserver", self._answers(admin, "/readyz"))

    def _answers(self, user: Identity, path: str) -> Callable[[], bool]:
        context = ssl.create_default_context(cafile=str(self.authority.identity.certificate))
        context.load_cert_chain(user.certificate, user.key)

        def answers() -> bool:
            try:
                with httpx.Client(verify=context, timeout=5, trust_env=False) as client:
                    return client.get(f"{self.endpoints.server}{path}").is_success
            except httpx.HTTPError:
                return False

        return answers

    def _wait(self, name: str, healthy: Callable[[], bool]) -> None:
        wait_for(self.supervisor, name, healthy, seconds=READY_SECONDS)

    def _apiserver_command(self) -> list[str]:
        ends, authority = self.endpoints, self.authority
        hosts = [ends.host, "127.0.0.1", API_SERVICE_ADDRESS, "localhost", "kubernetes", "kubernetes.default"]
        hosts += ["kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
        server = authority.issue("apiserver", "kube-apiserver", hosts=hosts)
        kubelet = authority.issue("apiserver-kubelet", "kube-apiserver-kubelet", groups=["system:masters"])
        tokens = authority.signing_key("service-accounts")
        proxy = self.front_proxy.issue("front-proxy-client", FRONT_PROXY)
        policy = self.directory / "audit-policy.yaml"
        policy.write_text(yaml.safe_dump(AUDIT_POLICY), encoding="utf-8")
        return [
            self.tools.path("kube-apiserver"),
            f"--etcd-servers=http://127.0.0.1:{ends.etcd}",
            f"--bind-address={ends.host}",
            f"--advertise-address={ends.host}",
            f"--secure-port={ends.port}",
            f"--endpoint-reconciler-type={'lease' if ends.advertised else 'none'}",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--client-ca-file={authority.identity.certificate}",
            f"--tls-cert-file={server.certificate}",
            f"--tls-private-key-file={server.key}",
            f"--kubelet-client-certificate={kubelet.certificate}",
            f"--kubelet-client-key={kubelet.key}",
            f"--kubelet-certificate-authority={authority.identity.certificate}",
            # Node names are in no DNS; exec and logs have to go to the address.
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={tokens}",
            f"--service-account-signing-key-file={tokens}",
            # Other API servers, such as one of metrics, are reached by their pods' addresses.
            f"--requestheader-client-ca-file={self.front_proxy.identity.certificate}",
            f"--requestheader-allowed-names={FRONT_PROXY}",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={proxy.certificate}",
            f"--proxy-client-key-file={proxy.key}",
            "--enable-aggregator-routing=true",
            f"--audit-policy-file={policy}",
            f"--audit-log-path={self.audit_log}",
            "--audit-log-maxsize=2000",
            *self.features.server_flags,
        ]

    def _controller_manager_command(self) -> list[str]:
        credentials = self.credentials("controller-manager", "system:kube-controller-manager", [])
        authority = self.authority.identity
        return [
            self.tools.path("kube-controller-manager"),
            f"--kubeconfig={credentials}",
            f"--authentication-kubeconfig={credentials}",
            f"--authorization-kubeconfig={credentials}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.endpoints.controller_manager}",
            f"--root-ca-file={authority.certificate}",
            f"--cluster-signing-cert-file={authority.certificate}",
            f"--cluster-signing-key-file={authority.key}",
            f"--service-account-private-key-file={self.authority.signing_key('service-accounts')}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--concurrent-statefulset-syncs=20",
            f"--horizontal-pod-autoscaler-sync-period={AUTOSCALER_PERIOD}",
            *CLIENT_LIMITS,
            *self.features.flags,
        ]

    def _scheduler_command(self) -> list[str]:
        credentials = self.credentials("scheduler", "system:kube-scheduler", [])
        return [
            self.tools.path("kube-scheduler"),
            f"--kubeconfig={credentials}",
            f"--authentication-kubeconfig={credentials}",
            f"--authorization-kubeconfig={credentials}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.endpoints.scheduler}",
            "--leader-elect=false",
            *CLIENT_LIMITS,
            *self.features.flags,
        ]
