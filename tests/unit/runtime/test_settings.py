"""Settings from the environment."""

import json
from pathlib import Path

import pytest

from disagg_operator.runtime.settings import SettingsError, from_environment


def test_defaults() -> None:
    settings = from_environment({"DISAGG_WORKER_IMAGE": "w:1"})
    assert settings.namespaces == ()
    assert settings.http_port == 8080
    assert settings.lease_namespace == "default"
    assert settings.installation().worker_image == "w:1"


def test_the_pod_says_where_the_lease_is_unless_told_otherwise() -> None:
    pod = {"DISAGG_WORKER_IMAGE": "w", "POD_NAMESPACE": "system", "POD_NAME": "operator-1"}
    assert from_environment(pod).lease_namespace == "system"
    assert from_environment({**pod, "DISAGG_LEASE_NAMESPACE": "other"}).lease_namespace == "other"
    assert from_environment(pod).pod_name == "operator-1"


def test_lists_and_cases() -> None:
    given = {"DISAGG_WORKER_IMAGE": "w", "DISAGG_NAMESPACES": " a, b,", "DISAGG_LOG_LEVEL": "debug"}
    settings = from_environment(given)
    assert settings.namespaces == ("a", "b")
    assert settings.log_level == "DEBUG"


def test_an_empty_value_is_none() -> None:
    assert from_environment({"DISAGG_WORKER_IMAGE": "w", "DISAGG_NAMESPACES": ""}).namespaces == ()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("DISAGG_WORKER_IMAGE", "", "DISAGG_WORKER_IMAGE is not set"),
        ("DISAGG_HTTP_PORT", "70000", "DISAGG_HTTP_PORT='70000': input should be less than"),
        ("DISAGG_LOG_FORMAT", "xml", "DISAGG_LOG_FORMAT='xml': input should be 'json' or 'text'"),
        ("DISAGG_NAMESPACES", "A_b", "DISAGG_NAMESPACES='A_b': string should match pattern"),
        ("DISAGG_DISCOVERY_ROLE_KIND", "Rolle", "DISAGG_DISCOVERY_ROLE_KIND='Rolle'"),
    ],
)
def test_nonsense_is_named(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError) as error:
        from_environment({"DISAGG_WORKER_IMAGE": "w", name: value})
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bad_profile_of_the_installation_is_named_with_file_field_and_fault(tmp_path: Path) -> None:
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "lab.yaml").write_text("gpus: {count: none, model: H100}\n")
    settings = from_environment({"DISAGG_WORKER_IMAGE": "w", "DISAGG_PLATFORMS": str(tmp_path)})
    with pytest.raises(SettingsError) as error:
        settings.installation()
    assert "machines/lab.yaml: gpus.count: must be a whole number" in str(error.value)
    assert str(error.value).startswith(f"DISAGG_PLATFORMS={tmp_path}: ")
    assert "\n" not in str(error.value)


def test_profiles_of_the_installation_are_in_its_catalogue(tmp_path: Path) -> None:
    (tmp_path / "machines").mkdir()
    (tmp_path / "machines" / "lab.yaml").write_text("like: infiniband\n")
    settings = from_environment({"DISAGG_WORKER_IMAGE": "w", "DISAGG_PLATFORMS": str(tmp_path)})
    assert settings.installation().catalogue.machine("lab").fabrics == ("infiniband",)


def test_images_of_services_are_the_profiles_unless_they_are_named() -> None:
    plain = from_environment({"DISAGG_WORKER_IMAGE": "w:1", "DISAGG_ETCD_IMAGE": ""}).installation()
    assert plain.service_images == {}
    named = {"DISAGG_ETCD_IMAGE": "mirror/etcd:1", "DISAGG_NATS_IMAGE": "mirror/nats:1"}
    found = from_environment({"DISAGG_WORKER_IMAGE": "w:1", **named}).installation()
    assert found.service_images == {"etcd": "mirror/etcd:1", "nats": "mirror/nats:1"}


def test_readers_of_metrics_are_peers_of_a_network_policy() -> None:
    peer = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    found = from_environment({"DISAGG_WORKER_IMAGE": "w", "DISAGG_METRICS_FROM": json.dumps([peer])})
    assert found.installation().metrics_from == (peer,)
    assert from_environment({"DISAGG_WORKER_IMAGE": "w"}).installation().metrics_from == ()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("monitoring", "DISAGG_METRICS_FROM is no JSON"),
        ("{}", "DISAGG_METRICS_FROM must be a list"),
        ('[{"namespace": "monitoring"}]', "DISAGG_METRICS_FROM[0].namespace"),
    ],
)
def test_what_is_no_peer_of_a_network_policy_stops_the_process(text: str, told: str) -> None:
    with pytest.raises(SettingsError) as error:
        from_environment({"DISAGG_WORKER_IMAGE": "w", "DISAGG_METRICS_FROM": text})
    assert str(error.value).startswith(told)
