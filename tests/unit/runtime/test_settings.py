"""Settings from the environment."""

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
