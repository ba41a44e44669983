"""What the chart asks Prometheus: the rules of its alerts, and the queries of its dashboards."""

import json
import re
from collections.abc import Iterator, Mapping
from string import Template
from typing import Any

from chart.helm import CHART, MONITORING, Helm, Object, of_kind, settings
from monitoring.__main__ import files

DASHBOARDS = {path.stem: json.loads(text) for path, text in files().items() if path.suffix == ".json"}
RANGES = {"__rate_interval": "5m", "__range": "1h"}
"""Variables that Grafana sets by itself."""
_LABEL_VALUES = re.compile(r"label_values\((.*), (\w+)\)")


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    """Yield the queries of a dashboard's panels and of its choices."""
    for panel in dashboard["panels"]:
        yield from (target["expr"] for target in panel.get("targets", []))
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert match, variable
            yield match[1] if "{" in match[1] else f"{match[1]}{{{match[2]}!=''}}"


def filled(query: str, ranges: Mapping[str, str] = RANGES, **chosen: str) -> str:
    """Return a query as Grafana asks it.

    Args:
        query: the query of a panel.
        ranges: variables that Grafana sets by itself.
        chosen: variables that a person chooses.
    """
    return Template(query).safe_substitute(**ranges, **chosen)


def groups(helm: Helm, **values: object) -> list[Object]:
    """Return the groups of rules, with everything that is optional turned on."""
    chosen = ("--values", CHART / "ci" / "production-values.yaml", "--api-versions", MONITORING)
    (rule,) = of_kind(helm.render(*chosen, *settings(**values)), "PrometheusRule")
    found: list[Object] = rule["spec"]["groups"]
    return found
