"""A real Prometheus scrapes a running operator, evaluates the chart's rules and answers the dashboards.

The operator has a real API server and a deployment; workers and frontends run nothing here, so what is asked
of their metrics is answered with nothing.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chart.asked import DASHBOARDS, filled, groups, queries
from chart.helm import NAMESPACE, RELEASE, Helm, Object
from integration.operator.control_plane import Api, Deployed, OperatorProcess, eventually
from testcluster.console import Progress
from testcluster.fixtures import ApiServer
from testcluster.paths import default_paths
from testcluster.prometheus import Prometheus, ensure_prometheus, prometheus_running

pytestmark = pytest.mark.apiserver

POD = {"namespace": NAMESPACE, "pod": f"{RELEASE}-6c9d5b7f4-x2v8k"}
"""What a PodMonitor writes on the series of the operator."""
NO_WEBHOOK = "DisaggWebhookDown"
OF_NO_NODES = {"DisaggPlatformNotReady", "DisaggTransportUnknown"}
"""Alerts that are true of a deployment whose pods are only said to run, unless another test left nodes."""
NEVER_HERE = ('state="wanted"', "watch_restarts", "transport_verifications", "transport_canary")
"""In queries about what does not happen here: instances that are missing, watches that break, canaries."""


@pytest.fixture
def operator(new_operator: Callable[..., OperatorProcess]) -> OperatorProcess:
    """An operator of the test's own, since the test ends it."""
    process = new_operator("operator-a")
    process.wait_until_leading()
    return process


@pytest.fixture
def prometheus(apiserver: ApiServer, operator: OperatorProcess, tmp_path: Path) -> Iterator[Prometheus]:
    """Prometheus with the chart's rules, which finds the operator as a PodMonitor would tell it to."""
    rules = {"groups": groups(Helm(Path(apiserver.tools.path("helm"))))}
    target = {"targets": [f"127.0.0.1:{operator.port}"], "labels": POD}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": RELEASE, "honor_labels": True, "static_configs": [target]}],
    }
    tools = ensure_prometheus(default_paths(), Progress())
    with prometheus_running(tools, tmp_path, config, rules) as running:
        yield running


def test_prometheus_scrapes_the_operator_evaluates_the_rules_and_answers_the_dashboards(
    api: Api, namespace: str, operator: OperatorProcess, prometheus: Prometheus
) -> None:
    demo = Deployed(api, namespace, "demo")
    demo.create()
    demo.wait_for("Progressing", "Complete")
    chosen = f'namespace="{namespace}", deployment="demo", condition="Available"'
    available = f"disagg_deployment_condition{{{chosen}}} == 1"
    eventually(lambda: prometheus.series(available), "the deployment is available")
    eventually(lambda: NO_WEBHOOK in active(prometheus, namespace), "the webhook is missed")
    eventually(
        lambda: not active(prometheus, namespace).keys() - {NO_WEBHOOK} - OF_NO_NODES, "all else is well"
    )
    rules = prometheus.rules()
    assert {name: rule["lastError"] for name, rule in rules.items() if rule["health"] != "ok"} == {}
    eventually(lambda: not unanswered(prometheus), "the operator's dashboard shows all that was")
    for query in queries(DASHBOARDS["serving"]):
        prometheus.series(filled(query, namespace=namespace, deployment="demo"))
    operator.stop()
    eventually(
        lambda: "DisaggOperatorDown" in active(prometheus, namespace), "an operator that is gone is noticed"
    )


def active(prometheus: Prometheus, namespace: str) -> dict[str, list[Object]]:
    """Return the labels of alerts whose condition is there, however short, by name.

    Deployments that other tests left on the API server are not asked about.
    """
    found = {
        name: [
            alert["labels"]
            for alert in rule["alerts"]
            if alert["labels"].get("namespace", namespace) in (namespace, NAMESPACE)
        ]
        for name, rule in prometheus.rules().items()
    }
    return {name: labels for name, labels in found.items() if labels}


def unanswered(prometheus: Prometheus) -> list[str]:
    """Return the queries of the operator's dashboard that find nothing, though they should."""
    asked = [filled(query, operator=NAMESPACE) for query in queries(DASHBOARDS["operator"])]
    empty = [query for query in asked if not prometheus.series(query)]
    return [query for query in empty if not any(word in query for word in NEVER_HERE)]
