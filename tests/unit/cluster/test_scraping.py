"""PodMonitors become scrapes of the pods that they select, with the labels that they get elsewhere."""

from typing import Any

import pytest

from testcluster.errors import ClusterError
from testcluster.scraping import scrape_configs

MONITOR: dict[str, Any] = {
    "metadata": {"name": "workers", "namespace": "system"},
    "spec": {
        "namespaceSelector": {"any": True},
        "selector": {"matchLabels": {"app": "worker"}},
        "podTargetLabels": ["disagg.dev/role", "absent"],
        "podMetricsEndpoints": [
            {"port": "metrics", "path": "/metrics", "interval": "30s"},
            {"port": "agent", "path": "/m", "scheme": "https", "honorLabels": True},
        ],
    },
}


def pod(name: str, namespace: str = "ai", phase: str = "Running", **labels: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": namespace, "labels": {"disagg.dev/role": "decode", **labels}},
        "spec": {
            "initContainers": [{"name": "agent", "ports": [{"name": "agent", "containerPort": 9400}]}],
            "containers": [
                {"name": "worker", "ports": [{"name": "metrics", "containerPort": 9091}]},
                {"name": "other"},
            ],
        },
        "status": {"phase": phase, "podIP": "10.0.0.7"},
    }


def targets(monitor: dict[str, Any], *pods: dict[str, Any]) -> list[list[dict[str, str]]]:
    configs = scrape_configs(monitor, pods, "127.0.0.1:8001", "2s")
    return [[each["labels"] for each in config["static_configs"]] for config in configs]


def test_each_endpoint_of_a_selected_pod_is_scraped_through_the_api_server() -> None:
    (metrics,), (agent,) = targets(MONITOR, pod("a", app="worker"))
    assert metrics == {
        "__metrics_path__": "/api/v1/namespaces/ai/pods/a:9091/proxy/metrics",
        "namespace": "ai",
        "pod": "a",
        "container": "worker",
        "instance": "10.0.0.7:9091",
        "job": "system/workers",
        "endpoint": "metrics",
        "disagg_dev_role": "decode",
    }
    assert agent["__metrics_path__"] == "/api/v1/namespaces/ai/pods/https:a:9400/proxy/m"
    assert agent["container"] == "agent"


@pytest.mark.parametrize(
    "other",
    [pod("b", app="frontend"), pod("c"), pod("d", phase="Pending", app="worker")],
    ids=["another label", "no label", "not running"],
)
def test_other_pods_are_not(other: dict[str, Any]) -> None:
    assert targets(MONITOR, other) == [[], []]


def test_a_monitor_without_a_selector_of_namespaces_means_its_own() -> None:
    spec = {key: value for key, value in MONITOR["spec"].items() if key != "namespaceSelector"}
    monitor = {**MONITOR, "spec": spec}
    assert targets(monitor, pod("a", "ai", app="worker"))[0] == []
    assert len(targets(monitor, pod("a", "system", app="worker"))[0]) == 1


def test_what_is_not_understood_is_refused() -> None:
    monitor = {**MONITOR, "spec": {**MONITOR["spec"], "sampleLimit": 7}}
    with pytest.raises(ClusterError, match="PodMonitor system/workers: sampleLimit is not understood"):
        targets(monitor)
