"""docs/metrics.md: every metric of ours, and those of Dynamo that dashboards and alerts ask for."""

from collections.abc import Iterable

from monitoring.metrics import Metric, agent, dynamo, operator, webhook, worker

_HEAD = """# Metrics

Made from the code by `make crds`. A scrape adds labels: by the chart's monitors `namespace`, `pod` and
`container`, and for pods of deployments `disagg_dev_deployment`, `disagg_dev_role` and `disagg_dev_revision`
([observability.md](observability.md)). A histogram has series with `_bucket`, `_sum` and `_count` behind its
name.
"""
_PARTS = (
    (
        "The operator",
        "Port `http` (8080) of its pods. Only the leader has what is about deployments.",
        operator,
    ),
    ("The webhook", "Port `https` of its pods.", webhook),
    (
        "Workers of the reference engine",
        "Port `metrics` of their pods. Other engines have their own.",
        worker,
    ),
    ("The transport agent", "Port `agent` of every worker's pod, whatever its engine.", agent),
    (
        "Dynamo",
        "Port `http` of frontends has many more. These are what dashboards and alerts ask for.",
        dynamo,
    ),
)


def page() -> str:
    """Return the page."""
    parts = [f"\n## {title}\n\n{text}\n\n{_table(metrics())}" for title, text, metrics in _PARTS]
    return _HEAD + "".join(parts)


def _table(metrics: Iterable[Metric]) -> str:
    lines = ["| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
    for metric in metrics:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.kind} | {metric.unit} | {labels} | {metric.text} |")
    return "\n".join(lines) + "\n"
