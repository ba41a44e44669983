"""A real Prometheus that scrapes what is in the cluster as the monitors of the chart say."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from chart.helm import IMAGES, MONITORING, Helm, of_kind, settings
from testcluster.console import Progress
from testcluster.paths import default_paths
from testcluster.prometheus import Prometheus, ensure_prometheus, prometheus_running
from testcluster.scraping import scrape_configs


@contextmanager
def observed(helm: Helm, http: httpx.Client, directory: Path, interval: str) -> Iterator[Prometheus]:
    """Scrape the pods that there are now, within the block.

    Args:
        helm: renders the chart's monitors.
        http: client of `kubectl proxy`.
        directory: where Prometheus keeps its data.
        interval: time between two scrapes.
    """
    chosen = settings(**IMAGES, podMonitor__enabled=True)
    monitors = of_kind(helm.render(*chosen, "--api-versions", MONITORING), "PodMonitor")
    pods = http.get("/api/v1/pods").raise_for_status().json()["items"]
    proxy = f"{http.base_url.host}:{http.base_url.port}"
    config = {
        "global": {"evaluation_interval": interval},
        "scrape_configs": [
            config for monitor in monitors for config in scrape_configs(monitor, pods, proxy, interval)
        ],
    }
    tools = ensure_prometheus(default_paths(), Progress())
    with prometheus_running(tools, directory, config) as running:
        yield running
