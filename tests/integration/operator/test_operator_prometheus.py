"""A real Prometheus scrapes a running operator, evaluates the chart's rules and answers the dashboards.

The operator has a real API server and a deployment; workers and frontends run nothing here, so what is asked
of their metrics is answered with nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import httpx
import pytest
import yaml

from chart.asked import DASHBOARDS, RANGES, groups, queries
from chart.helm import NAMESPACE, RELEASE, Helm, Object
from integration.operator.control_plane import Api, Deployed, OperatorProcess, eventually
from testcluster.console import Progress
from testcluster.fixtures import ApiServer
from testcluster.paths import default_paths
from testcluster.ports import free_ports
from testcluster.processes import Supervisor
from testcluster.prometheus import ensure_prometheus

pytestmark = pytest.mark.apiserver

POD = {"namespace": NAMESPACE, "pod": f"{RELEASE}-6c9d5b7f4-x2v8k"}
"""What a PodMonitor writes on the series of the operator."""
NO_WEBHOOK = "DisaggWebhookDown"
OF_NO_NODES = {"DisaggPlatformNotReady", "DisaggTransportUnknown"}
"""Alerts that are true of a deployment whose pods are only said to run, unless another test left nodes."""
NEVER_HERE = ('state="wanted"', "watch_restarts", "transport_verifications", "transport_canary")
"""In queries about what does not happen here: instances that are missing, watches that break, canaries."""


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus, by its HTTP API."""

    http: httpx.Client

    def ask(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer, which must be a success without warnings."""
        answer = self.http.get(f"/api/v1/{path}", params=parameters).json()
        assert answer["status"] == "success", answer
        assert not answer.get("warnings"), answer
        return answer["data"]

    def series(self, query: str) -> list[Object]:
        """Return the series that a query has now."""
        found: list[Object] = self.ask("query", query=query)["result"]
        return found

    def rules(self) -> dict[str, Object]:
        """Return the alerts by name."""
        return {rule["name"]: rule for group in self.ask("rules")["groups"] for rule in group["rules"]}


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
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    target = {"targets": [f"127.0.0.1:{operator.port}"], "labels": POD}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [{"job_name": RELEASE, "honor_labels": True, "static_configs": [target]}],
    }
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    (port,) = free_ports(1)
    supervisor = Supervisor(tmp_path / "pids", tmp_path / "logs", bound=True)
    supervisor.ensure(
        "prometheus",
        [
            ensure_prometheus(default_paths(), Progress()).path("prometheus"),
            f"--config.file={tmp_path / 'prometheus.yaml'}",
            f"--storage.tsdb.path={tmp_path / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
    )
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:
        try:
            yield Prometheus(http)
        finally:
            supervisor.stop("prometheus")


def test_prometheus_scrapes_the_operator_evaluates_the_rules_and_answers_the_dashboards(
    api: Api, namespace: str, operator: OperatorProcess, prometheus: Prometheus
) -> None:
    demo = Deployed(api, namespace, "demo")
    demo.create()
    demo.wait_for("Progressing", "Complete")
    chosen = f'namespace="{namespace}", deployment="demo", condition="Available"'
    available = f"disagg_deployment_condition{{{chosen}}} == 1"
    eventually(lambda: scraped(prometheus) and prometheus.series(available), "the deployment is available")
    eventually(lambda: NO_WEBHOOK in active(prometheus, namespace), "the webhook is missed")
    eventually(
        lambda: not active(prometheus, namespace).keys() - {NO_WEBHOOK} - OF_NO_NODES, "all else is well"
    )
    rules = prometheus.rules()
    assert {name: rule["lastError"] for name, rule in rules.items() if rule["health"] != "ok"} == {}
    eventually(lambda: not unanswered(prometheus, namespace), "the operator's dashboard shows all that was")
    for query in queries(DASHBOARDS["serving"]):
        prometheus.series(filled(query, namespace))
    operator.stop()
    eventually(
        lambda: "DisaggOperatorDown" in active(prometheus, namespace), "an operator that is gone is noticed"
    )


def scraped(prometheus: Prometheus) -> bool:
    """Tell whether the operator was scraped, once Prometheus answers."""
    try:
        return bool(prometheus.series("up == 1"))
    except httpx.TransportError:
        return False


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


def unanswered(prometheus: Prometheus, namespace: str) -> list[str]:
    """Return the queries of the operator's dashboard that find nothing, though they should."""
    asked = [filled(query, namespace) for query in queries(DASHBOARDS["operator"])]
    empty = [query for query in asked if not prometheus.series(query)]
    return [query for query in empty if not any(word in query for word in NEVER_HERE)]


def filled(query: str, namespace: str) -> str:
    """Return a query as Grafana asks it of the deployment."""
    chosen = {"namespace": namespace, "deployment": "demo", "operator": NAMESPACE}
    return Template(query).safe_substitute(**RANGES, **chosen)
