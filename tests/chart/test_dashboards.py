"""Grafana dashboards of the chart: Grafana's types take them, and all that they and alerts ask for exists."""

import json
from collections.abc import Iterator
from typing import Any

import promql_parser as promql
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from chart.asked import DASHBOARDS, filled, queries
from chart.helm import CHART, IMAGES, RELEASE, Helm, of_kind, settings
from monitoring import metrics
from monitoring.__main__ import files
from settling import ROOT

LABELS = {name: metric.labels for metric in metrics.every() for name in metric.series}
ADDED = {"namespace", "pod", "container", "le"}
"""Labels that scrapes add, and what every histogram has."""
ADDED_TO_PODS = {f"disagg_dev_{name}" for name in ("deployment", "role", "revision")}


def selectors(expression: Any) -> Iterator[promql.VectorSelector]:
    """Yield all selectors of a parsed query."""
    if isinstance(expression, promql.VectorSelector):
        yield expression
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        inner = getattr(expression, name, None)
        if inner is not None and not isinstance(inner, str):
            yield from selectors(inner)
    for argument in getattr(expression, "args", ()):
        yield from selectors(argument)


def parsed(query: str) -> Any:
    return promql.parse(filled(query))


def alerts() -> Iterator[str]:
    rules = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
    for group in rules["groups"]:
        yield from (rule["expr"] for rule in group["rules"])


def faults(query: str) -> list[str]:
    """Return the metrics and labels in a query that are not there."""
    found = []
    for selector in selectors(parsed(query)):
        if selector.name not in LABELS:
            found.append(f"no metric {selector.name}")
            continue
        known = {*LABELS[selector.name], *ADDED, *ADDED_TO_PODS}
        asked = {matcher.name for matcher in selector.matchers.matchers}
        found += [f"{selector.name} has no label {name}" for name in sorted(asked - known)]
    return found


@pytest.mark.parametrize("name", DASHBOARDS)
def test_what_dashboards_ask_for_is_there(name: str) -> None:
    asked = list(queries(DASHBOARDS[name]))
    assert len(asked) > 20
    assert {query: found for query in asked if (found := faults(query))} == {}


def test_what_alerts_ask_for_is_there() -> None:
    asked = list(alerts())
    assert len(asked) > 20
    assert {query: found for query in asked if (found := faults(query))} == {}


def test_a_metric_or_a_label_that_is_not_there_is_found() -> None:
    assert faults('sum(rate(disagg_leadr{pod="a"}[5m])) / 2 > vector(1)') == ["no metric disagg_leadr"]
    assert faults('absent(disagg_events_total{cause="x"})') == ["disagg_events_total has no label cause"]
    assert faults("1 - max_over_time(sum(disagg_nothing)[1h:5m])") == ["no metric disagg_nothing"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_dashboards_are_of_grafanas_types(name: str) -> None:
    """What the types do not know is lost on the way through them."""
    register_default_plugins()
    again = json.loads(json.dumps(Dashboard.from_json(DASHBOARDS[name]), cls=JSONEncoder))
    assert again == DASHBOARDS[name]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_a_title_a_text_and_a_place_of_their_own(name: str) -> None:
    taken: set[tuple[int, int]] = set()
    numbers = []
    for panel in DASHBOARDS[name]["panels"]:
        numbers.append(panel["id"])
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"].endswith("."), panel["title"]
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    assert numbers == sorted(set(numbers))


def test_generated_files_are_what_the_code_says() -> None:
    stale = [str(path) for path, text in files().items() if (ROOT / path).read_text(encoding="utf-8") != text]
    assert stale == [], "run make crds"


def test_grafanas_sidecar_finds_the_dashboards_where_they_are_wanted(helm: Helm) -> None:
    chosen = {"enabled": True, "annotations": {"grafana_folder": "Disagg"}}
    maps = of_kind(helm.render(*settings(**IMAGES, dashboards=chosen)), "ConfigMap")
    assert [each["metadata"]["name"] for each in maps] == [
        f"{RELEASE}-dashboard-operator",
        f"{RELEASE}-dashboard-serving",
    ]
    shown: dict[str, str] = {}
    for each in maps:
        assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
        assert each["metadata"]["annotations"] == {"grafana_folder": "Disagg"}
        shown |= each["data"]
    assert {name: json.loads(text) for name, text in shown.items()} == {
        f"disagg-{name}.json": dashboard for name, dashboard in DASHBOARDS.items()
    }
    assert not of_kind(helm.render(*settings(**IMAGES)), "ConfigMap")


def test_every_metric_of_ours_says_what_it_means() -> None:
    ours = [*metrics.operator(), *metrics.webhook(), *metrics.worker(), *metrics.agent()]
    assert len(ours) > 40
    assert [metric.name for metric in ours if not metric.text.endswith(".")] == []
