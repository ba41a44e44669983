"""Which provider is used, and what is asked of the environment."""

import os
from pathlib import Path

import pytest
import yaml
from rich.console import Console

from testcluster import requirements, session
from testcluster.console import Progress
from testcluster.demo import Demo
from testcluster.errors import ClusterError
from testcluster.images import given_images
from testcluster.paths import paths_from
from testcluster.providers import local
from testcluster.providers.base import choose
from testcluster.providers.existing import ExistingProvider
from testcluster.providers.kind import kind_config


@pytest.mark.parametrize(
    ("asked", "kind_usable", "chosen"),
    [
        ("", True, "kind"),
        ("", False, "local"),
        ("local", True, "local"),
        ("kind", False, "kind"),
        ("existing", True, "existing"),
    ],
)
def test_the_environment_goes_before_what_the_machine_has(asked: str, kind_usable: bool, chosen: str) -> None:
    assert choose({"CLUSTER": asked}, kind_usable=kind_usable) == chosen


def test_an_unknown_provider_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ClusterError, match="CLUSTER=minikube is unknown") as caught:
        choose({"CLUSTER": "minikube"}, kind_usable=True)
    assert "kind, local or existing" in caught.value.remedy


def test_an_existing_cluster_needs_a_kubeconfig_file(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="it is not set"):
        ExistingProvider({}, str)
    with pytest.raises(ClusterError, match="is no file"):
        ExistingProvider({"KUBECONFIG": str(tmp_path / "absent")}, str)


def test_an_existing_cluster_needs_images_that_it_can_pull() -> None:
    with pytest.raises(ClusterError, match="DISAGG_WORKER_IMAGE is not set"):
        given_images({"DISAGG_OPERATOR_IMAGE": "registry.example/operator:1"})
    given = {
        "DISAGG_OPERATOR_IMAGE": "registry.example/operator:1",
        "DISAGG_WORKER_IMAGE": "registry.example/worker:1",
    }
    assert [image.reference for image in given_images(given)] == list(given.values())


@pytest.fixture
def no_builds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the cluster's programs were built too early")

    monkeypatch.setattr(session, "ensure_tools", refuse)
    monkeypatch.setattr(local, "ensure_tools", refuse)


@pytest.mark.usefixtures("no_builds")
def test_missing_rights_are_named_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="needs root") as refusal:
        Demo(session.open_session({"CLUSTER": "local"}, Progress()), Console()).run()
    assert "CLUSTER=existing" in refusal.value.remedy


@pytest.mark.usefixtures("no_builds")
def test_missing_images_are_named_before_anything_is_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DISAGG_OPERATOR_IMAGE", "DISAGG_WORKER_IMAGE"):
        monkeypatch.delenv(name, raising=False)
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.touch()
    opened = session.open_session({"CLUSTER": "existing", "KUBECONFIG": str(kubeconfig)}, Progress())
    with pytest.raises(ClusterError, match="DISAGG_OPERATOR_IMAGE and DISAGG_WORKER_IMAGE"):
        opened.up()


def test_a_process_lacks_the_capabilities_whose_bits_are_not_set() -> None:
    assert requirements.missing_capabilities("Name:\tx\nCapEff:\t000001fffeffffff\n") == []
    assert requirements.missing_capabilities("CapEff:\t000001fffedfefff\n") == [
        "CAP_NET_ADMIN",
        "CAP_SYS_ADMIN",
    ]


def test_folders_come_from_the_environment() -> None:
    assert paths_from({"HOME": "/home/x"}).cache == Path("/home/x/.cache/disagg-operator")
    assert paths_from({"HOME": "/home/x", "XDG_CACHE_HOME": "/c"}).cache == Path("/c/disagg-operator")
    moved = paths_from({"DISAGG_CACHE": "/cache", "DISAGG_STATE": "/state"})
    assert (moved.cache, moved.state) == (Path("/cache"), Path("/state"))


def test_sockets_stay_short_wherever_the_state_is() -> None:
    deep = paths_from({"DISAGG_STATE": "/" + "/".join(["deep"] * 40)})
    assert len(str(deep.run / "containerd.sock.ttrpc")) < 108


def test_kind_mounts_the_audit_policy_and_log_into_its_api_server(tmp_path: Path) -> None:
    config = kind_config(tmp_path / "policy", tmp_path / "audit")
    (node,) = config["nodes"]
    patch = yaml.safe_load(node["kubeadmConfigPatches"][0])
    mounted = {mount["containerPath"]: mount["hostPath"] for mount in node["extraMounts"]}
    volumes = {volume["hostPath"]: volume for volume in patch["apiServer"]["extraVolumes"]}
    arguments = patch["apiServer"]["extraArgs"]
    assert mounted == {
        "/etc/kubernetes/audit": str(tmp_path / "policy"),
        "/var/log/kubernetes": str(tmp_path / "audit"),
    }
    for argument in ("audit-policy-file", "audit-log-path"):
        folder = str(Path(arguments[argument]).parent)
        assert folder in mounted
        assert volumes[folder]["mountPath"] == folder
    assert not volumes["/var/log/kubernetes"]["readOnly"]


def test_kind_takes_the_kubernetes_that_is_asked_for(tmp_path: Path) -> None:
    (default,) = kind_config(tmp_path, tmp_path)["nodes"]
    assert "image" not in default
    (asked,) = kind_config(tmp_path, tmp_path, "kindest/node:v1.33.1")["nodes"]
    assert asked["image"] == "kindest/node:v1.33.1"
