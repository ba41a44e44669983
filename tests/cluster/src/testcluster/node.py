"""Configuration of the embedded cluster's one node. Pure: settings in, texts and objects out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from testcluster.controlplane import Endpoints
from testcluster.paths import Paths

NODE = "disagg-local"
POLICY_ENGINE = "policies"
"""What tests start to have NetworkPolicies enforced: a program, and the name of its process."""
BRIDGE = "disagg0"
BRIDGE_ADDRESS = "10.244.0.1"
POD_RANGE = "10.244.0.0/24"
DNS_ADDRESS = "10.96.0.10"
CLUSTER_DOMAIN = "cluster.local"
CNI_PLUGINS = "/usr/lib/cni"
KUBELET_PORT = 10250
KUBELET_HEALTH_PORT = 17248
PROXY_METRICS_PORT = 17249
PROXY_HEALTH_PORT = 17256
DNS_HEALTH_PORT = 17380
DNS_READY_PORT = 17381
ENDPOINTS = Endpoints(
    host=BRIDGE_ADDRESS,
    port=6443,
    etcd=17379,
    etcd_peer=17378,
    controller_manager=17257,
    scheduler=17259,
    advertised=True,
)


@dataclass(frozen=True)
class NodeFiles:
    """Where the node's parts keep their things."""

    paths: Paths

    @property
    def socket(self) -> Path:
        """Containerd's socket."""
        return self.paths.run / "containerd.sock"

    @property
    def containerd(self) -> Path:
        """Containerd's data: images and snapshots."""
        return self.paths.state / "containerd"

    @property
    def containerd_run(self) -> Path:
        """Containerd's runtime state: tasks and network namespaces."""
        return self.paths.run / "containerd"

    @property
    def kubelet(self) -> Path:
        """The kubelet's root folder."""
        return self.paths.state / "kubelet"

    @property
    def pod_logs(self) -> Path:
        """The containers' logs."""
        return self.paths.state / "pod-logs"

    @property
    def cni(self) -> Path:
        """CNI configuration."""
        return self.paths.state / "cni/net.d"

    @property
    def addresses(self) -> Path:
        """The pod addresses that are in use."""
        return self.paths.state / "cni/addresses"


def containerd_config(files: NodeFiles, pause: str, *, overlay: bool) -> str:
    """Containerd's configuration: folders and sockets of its own, a sandbox image that needs no registry."""
    return f"""version = 2
root = "{files.containerd}"
state = "{files.containerd_run}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]

[grpc]
address = "{files.socket}"

[plugins."io.containerd.internal.v1.opt"]
path = "{files.containerd / "opt"}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Lowering the OOM score needs CAP_SYS_RESOURCE; without this, sandboxes die where it is missing.
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{CNI_PLUGINS}"
conf_dir = "{files.cni}"

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "{"overlayfs" if overlay else "native"}"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""


def cni_config(files: NodeFiles) -> str:
    """The pod network: a bridge with host ports, and accepted by a packet filter that drops by default."""
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": str(files.addresses),
            "ranges": [[{"subnet": POD_RANGE, "gateway": BRIDGE_ADDRESS}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    plugins = [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}, {"type": "firewall"}]
    return json.dumps({"cniVersion": "0.4.0", "name": "disagg", "plugins": plugins}, indent=1)


def kubelet_config(
    files: NodeFiles, authority: Path, certificate: Path, key: Path, resolv: str
) -> dict[str, Any]:
    """The kubelet's configuration.

    Args:
        files: The node's folders.
        authority: Certificate of the authority that signs its clients.
        certificate: Its serving certificate.
        key: The key of that certificate.
        resolv: resolv.conf for pods that use the machine's DNS.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": BRIDGE_ADDRESS,
        "port": KUBELET_PORT,
        "healthzPort": KUBELET_HEALTH_PORT,
        "authentication": {"anonymous": {"enabled": False}, "x509": {"clientCAFile": str(authority)}},
        "tlsCertFile": str(certificate),
        "tlsPrivateKeyFile": str(key),
        "containerRuntimeEndpoint": f"unix://{files.socket}",
        "cgroupDriver": "cgroupfs",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [DNS_ADDRESS],
        "clusterDomain": CLUSTER_DOMAIN,
        "resolvConf": resolv,
        "podLogsDir": str(files.pod_logs),
        "volumePluginDir": str(files.kubelet / "volume-plugins"),
        "maxPods": 200,
        "serializeImagePulls": False,
        # The images are loaded by hand: evicting for disk space or collecting them would lose them.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": dict.fromkeys(("memory.available", "nodefs.available", "imagefs.available"), "0%")
        | {"nodefs.inodesFree": "0%", "imagefs.inodesFree": "0%"},
        "syncFrequency": "10s",
    }


def proxy_config(credentials: Path, *, masquerade_all: bool) -> dict[str, Any]:
    """kube-proxy's configuration; it leaves the machine's connection tracking limits alone.

    Args:
        credentials: Its kubeconfig.
        masquerade_all: Whether Services hide the caller's address, for kernels that do not filter bridges.
    """
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(credentials)},
        "clusterCIDR": POD_RANGE,
        "hostnameOverride": NODE,
        "nodePortAddresses": [POD_RANGE],
        "metricsBindAddress": f"127.0.0.1:{PROXY_METRICS_PORT}",
        "healthzBindAddress": f"127.0.0.1:{PROXY_HEALTH_PORT}",
        "iptables": {"localhostNodePorts": False, "masqueradeAll": masquerade_all},
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }


def corefile(credentials: Path, resolv: str | None) -> str:
    """CoreDNS's configuration.

    Args:
        credentials: Its kubeconfig.
        resolv: resolv.conf with the servers for other names; None if the machine has no DNS.
    """
    forward = f"  forward . {resolv}\n" if resolv else ""
    # Pods ask for their peers before these exist: a long memory of "no such name" would delay them.
    return f""".:53 {{
  bind {BRIDGE_ADDRESS}
  errors
  health 127.0.0.1:{DNS_HEALTH_PORT}
  ready 127.0.0.1:{DNS_READY_PORT}
  kubernetes {CLUSTER_DOMAIN} in-addr.arpa ip6.arpa {{
    kubeconfig {credentials}
    pods insecure
    ttl 5
    fallthrough in-addr.arpa ip6.arpa
  }}
{forward}  cache {{
    success 1000 5
    denial 1000 1
  }}
}}
"""


def dns_objects() -> list[dict[str, Any]]:
    """The Service of cluster DNS, and its endpoint: CoreDNS runs beside the pods, not in one."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    labels = {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {
            "clusterIP": DNS_ADDRESS,
            "ports": [{"name": name, "protocol": protocol, "port": 53} for name, protocol in ports],
        },
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-host",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [BRIDGE_ADDRESS], "conditions": {"ready": True}}],
        "ports": [{"name": name, "protocol": protocol, "port": 53} for name, protocol in ports],
    }
    return [service, endpoints]
