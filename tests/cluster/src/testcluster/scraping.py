"""What the Prometheus Operator makes of PodMonitors: settings of Prometheus that scrape the same pods.

Pods are those of one moment, since Debian's Prometheus is built without the discovery of Kubernetes. They are
asked through the API server, so that it does not matter where the cluster runs.

Invariant: pure. Only what our chart's monitors use is understood; anything else raises, so that a monitor
that says more is not scraped otherwise than it would be.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from testcluster.errors import ClusterError

_UNDERSTOOD = {"namespaceSelector", "selector", "podTargetLabels", "podMetricsEndpoints"}
_UNDERSTOOD_OF_ENDPOINTS = {"port", "path", "interval", "honorLabels", "scheme", "tlsConfig"}


def scrape_configs(
    monitor: Mapping[str, Any], pods: Iterable[Mapping[str, Any]], proxy: str, interval: str
) -> Iterator[dict[str, Any]]:
    """Yield a scrape configuration for each endpoint of a PodMonitor.

    Args:
        monitor: the PodMonitor.
        pods: all pods of the cluster.
        proxy: host and port of `kubectl proxy`.
        interval: time between two scrapes as Prometheus writes it, in place of the monitor's own.

    Raises:
        ClusterError: the monitor says what is not understood here.
    """
    name = f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}"
    _understand(name, monitor["spec"], _UNDERSTOOD)
    chosen = [pod for pod in pods if _selects(monitor, pod)]
    for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"]):
        _understand(name, endpoint, _UNDERSTOOD_OF_ENDPOINTS)
        yield {
            "job_name": f"podMonitor/{name}/{number}",
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "honor_labels": endpoint.get("honorLabels", False),
            "static_configs": [
                {
                    "targets": [proxy],
                    "labels": {
                        "__metrics_path__": _path(pod, port["containerPort"], endpoint),
                        "namespace": pod["metadata"]["namespace"],
                        "pod": pod["metadata"]["name"],
                        "container": container["name"],
                        "instance": f"{pod['status']['podIP']}:{port['containerPort']}",
                        "job": name,
                        "endpoint": endpoint["port"],
                        **_copied(monitor, pod),
                    },
                }
                for pod in chosen
                for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"])
                for port in container.get("ports", [])
                if port.get("name") == endpoint["port"]
            ],
        }


def _selects(monitor: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    spec = monitor["spec"]
    namespaces = spec.get("namespaceSelector", {"matchNames": [monitor["metadata"]["namespace"]]})
    _understand(monitor["metadata"]["name"], namespaces, {"any", "matchNames"})
    _understand(monitor["metadata"]["name"], spec["selector"], {"matchLabels"})
    return (
        (namespaces.get("any", False) or pod["metadata"]["namespace"] in namespaces["matchNames"])
        and spec["selector"]["matchLabels"].items() <= pod["metadata"].get("labels", {}).items()
        and pod["status"]["phase"] == "Running"
    )


def _path(pod: Mapping[str, Any], port: int, endpoint: Mapping[str, Any]) -> str:
    """Return where the API server passes a scrape on to a port of a pod."""
    scheme = f"{endpoint['scheme']}:" if "scheme" in endpoint else ""
    metadata = pod["metadata"]
    asked = f"{scheme}{metadata['name']}:{port}"
    return f"/api/v1/namespaces/{metadata['namespace']}/pods/{asked}/proxy{endpoint['path']}"


def _copied(monitor: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of a pod that its series get, in letters that Prometheus takes."""
    labels = pod["metadata"].get("labels", {})
    wanted = monitor["spec"].get("podTargetLabels", [])
    return {re.sub(r"[^a-zA-Z0-9_]", "_", label): labels[label] for label in wanted if label in labels}


def _understand(name: str, said: Mapping[str, Any], understood: set[str]) -> None:
    if unknown := said.keys() - understood:
        raise ClusterError(f"PodMonitor {name}: {', '.join(sorted(unknown))} is not understood here")
