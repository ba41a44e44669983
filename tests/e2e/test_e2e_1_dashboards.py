"""The dashboards show a deployment that serves: each of their queries finds what its panel is about."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from chart.asked import DASHBOARDS, filled, queries
from chart.helm import Helm
from e2e.chat import Chat
from e2e.cluster_client import eventually
from e2e.deployments import Deployment
from e2e.installation import SYSTEM
from e2e.observing import observed
from testcluster.prometheus import Prometheus

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

RANGES = {"__rate_interval": "20s", "__range": "1h"}
NOT_HERE = (
    # No RDMA device and no NVLink is on this machine.
    "kv_transport_device",
    "kv_transport_nvlink",
    # The quickstart's router goes by turns: it knows no prefixes, and no list of workers.
    "dynamo_component_router_kv_selected",
    "dynamo_component_router_worker_registered",
    # No instance is missing, and no watch broke off.
    'state="wanted"',
    "watch_restarts",
    # Every condition holds.
    "< 1",
    # No prompt is left to decode.
    "prompts_recomputed",
    "prompts_local",
)
"""In queries about what does not happen here."""


@pytest.fixture
def prometheus(helm: Helm, http: httpx.Client, tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus with the chart's monitors."""
    with observed(helm, http, tmp_path, "2s") as running:
        yield running


def test_each_query_of_the_dashboards_finds_what_its_panel_is_about(
    quickstart: Deployment, chat: Chat, prometheus: Prometheus
) -> None:
    chosen = {"namespace": quickstart.namespace, "deployment": quickstart.name, "operator": SYSTEM}
    asked = {filled(query, RANGES, **chosen) for board in DASHBOARDS.values() for query in queries(board)}
    expected = {query for query in asked if not any(word in query for word in NOT_HERE)}
    assert len(expected) > len(asked) / 2

    def shown() -> None:
        chat.ask("What is the capital of France? Answer in one sentence.", 8)
        missing = sorted(query for query in expected if not prometheus.series(query))
        assert not missing, f"nothing is found by {missing}"

    eventually(shown, 120)
