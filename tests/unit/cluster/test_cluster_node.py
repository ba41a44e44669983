"""The node's settings, and what the machine tells about itself."""

import io
import json
import tarfile
import tomllib
from pathlib import Path

from testcluster.archives import single_program_archive
from testcluster.controlplane import Endpoints, etcd_command
from testcluster.machine import mount_points
from testcluster.node import (
    BRIDGE_ADDRESS,
    DNS_ADDRESS,
    NodeFiles,
    cni_config,
    containerd_config,
    corefile,
    dns_objects,
    kubelet_config,
    proxy_config,
)
from testcluster.paths import Paths
from testcluster.pki import Authority

FILES = NodeFiles(Paths(cache=Path("/c"), state=Path("/s"), run=Path("/r")))


def test_containerd_keeps_to_its_own_folders_and_needs_no_registry() -> None:
    config = tomllib.loads(containerd_config(FILES, "disagg.local/pause:1", overlay=True))
    cri = config["plugins"]["io.containerd.grpc.v1.cri"]
    assert (config["root"], config["state"]) == ("/s/containerd", "/r/containerd")
    assert config["grpc"]["address"] == "/r/containerd.sock"
    assert config["plugins"]["io.containerd.internal.v1.opt"]["path"] == "/s/containerd/opt"
    assert cri["sandbox_image"] == "disagg.local/pause:1"
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["containerd"]["snapshotter"] == "overlayfs"


def test_without_overlay_the_native_snapshotter_is_used() -> None:
    config = tomllib.loads(containerd_config(FILES, "p", overlay=False))
    assert config["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["snapshotter"] == "native"


def test_the_pod_network_is_ours() -> None:
    bridge, portmap, firewall = json.loads(cni_config(FILES))["plugins"]
    assert (bridge["type"], portmap["type"], firewall["type"]) == ("bridge", "portmap", "firewall")
    assert bridge["bridge"] == "disagg0"
    assert bridge["ipam"]["dataDir"] == "/s/cni/addresses"


def test_the_kubelet_evicts_nothing_and_collects_no_image() -> None:
    config = kubelet_config(FILES, Path("/ca"), Path("/crt"), Path("/key"), "/etc/resolv.conf")
    assert set(config["evictionHard"].values()) == {"0%"}
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["clusterDNS"] == [DNS_ADDRESS]
    assert config["failCgroupV1"] is False
    assert config["authentication"]["anonymous"]["enabled"] is False


def test_kube_proxy_leaves_connection_tracking_alone() -> None:
    config = proxy_config(Path("/k"), masquerade_all=True)
    assert config["conntrack"]["maxPerCore"] == 0
    assert config["iptables"]["masqueradeAll"] is True


def test_dns_works_on_a_machine_without_dns() -> None:
    assert "forward" not in corefile(Path("/k"), None)
    assert "forward . /etc/resolv.conf" in corefile(Path("/k"), "/etc/resolv.conf")


def test_the_dns_service_leads_to_the_bridge() -> None:
    service, endpoints = dns_objects()
    assert service["spec"]["clusterIP"] == DNS_ADDRESS
    assert endpoints["endpoints"][0]["addresses"] == [BRIDGE_ADDRESS]
    assert endpoints["metadata"]["labels"]["kubernetes.io/service-name"] == service["metadata"]["name"]


def test_free_endpoints_share_no_port() -> None:
    ends = Endpoints.free()
    ports = [ends.port, ends.etcd, ends.etcd_peer, ends.controller_manager, ends.scheduler]
    assert len(set(ports)) == len(ports)
    assert f"--listen-client-urls=http://127.0.0.1:{ends.etcd}" in etcd_command("etcd", Path("/d"), ends)


def test_mount_points_with_spaces_are_read() -> None:
    line = "36 35 98:0 / /mnt\\040x/y rw shared:1 - ext4 /dev/root rw"
    assert mount_points(line) == ["/mnt x/y"]


def test_certificates_are_kept_and_keys_are_private(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    first = authority.issue("server", "server", hosts=["10.0.0.1", "localhost"])
    content = first.certificate.read_bytes()
    assert Authority(tmp_path).issue("server", "server").certificate.read_bytes() == content
    assert first.key.stat().st_mode & 0o077 == 0


def test_a_hand_written_image_names_its_layer_and_its_program(tmp_path: Path) -> None:
    program = tmp_path / "pause"
    program.write_bytes(b"ELF")
    with tarfile.open(fileobj=io.BytesIO(single_program_archive("x/pause:1", program))) as archive:
        manifest = json.load(archive.extractfile("manifest.json") or io.BytesIO())[0]
        layer = archive.extractfile(manifest["Layers"][0])
        assert layer is not None
        with tarfile.open(fileobj=layer) as inner:
            assert inner.getmember("pause").mode == 0o755
        config = json.load(archive.extractfile(manifest["Config"]) or io.BytesIO())
    assert manifest["RepoTags"] == ["x/pause:1"]
    assert config["config"]["Entrypoint"] == ["/pause"]
