"""Panels of Grafana dashboards in the few shapes that ours have, by Grafana's own types."""

import json

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as words
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
HEIGHT = 8
NOTHING = "no data"
THIRD, HALF, FULL = 8, 12, 24
GREEN, YELLOW, RED, GREY = "green", "yellow", "red", "#808080"
_LAST = common.ReduceDataOptions().calcs(["lastNotNull"])
Panel = Builder[models.Panel]
Query = tuple[str, str]
"""A query in PromQL, and how its series are named."""

TRUTH: list[models.ValueMapping] = [
    models.ValueMap(
        {
            "1": models.ValueMappingResult(text="True", color=GREEN, index=0),
            "0": models.ValueMappingResult(text="False", color=RED, index=1),
            "-1": models.ValueMappingResult(text="Unknown", color=GREY, index=2),
        }
    )
]


def board(uid: str, title: str, text: str) -> dashboard.Dashboard:
    """Begin a dashboard, with a choice of the Prometheus that it asks."""
    chosen = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(text)
        .tags(["disagg"])
        .time("now-1h", "now")
        .refresh("30s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(chosen)
    )


def choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """Return a choice among the values of a label: `label_values(…)`."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query({"query": query, "refId": name})
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def section(built: dashboard.Dashboard, title: str, *panels: Panel) -> dashboard.Dashboard:
    """Add a row and its panels to a dashboard."""
    built = built.with_row(dashboard.Row(title))
    for panel in panels:
        built = built.with_panel(panel)
    return built


def lines(title: str, text: str, *queries: Query, unit: str = "short", width: int = THIRD) -> Panel:
    """Return a panel of lines over time."""
    panel = timeseries.Panel().title(title).description(text).datasource(SOURCE).unit(unit)
    panel = panel.height(HEIGHT).span(width).fill_opacity(8).show_points(words.VisibilityMode.NEVER).min(0)
    legend = (
        common.VizLegendOptions().display_mode(words.LegendDisplayMode.TABLE).show_legend(show_legend=True)
    )
    panel = panel.legend(legend.placement(words.LegendPlacement.BOTTOM).calcs(["lastNotNull", "max"]))
    panel = panel.tooltip(common.VizTooltipOptions().mode(words.TooltipDisplayMode.MULTI))
    for number, (expression, name) in enumerate(queries):
        panel = panel.with_target(_query(expression, number).range().legend_format(name))
    return panel


def figure(title: str, text: str, expression: str, *, unit: str = "short", bad: float | None = None) -> Panel:
    """Return a panel of one number, which is red from `bad` on."""
    steps = [models.Threshold(value=None, color=GREEN)]
    if bad is not None:
        steps.append(models.Threshold(value=bad, color=RED))
    panel = stat.Panel().title(title).description(text).datasource(SOURCE).unit(unit).reduce_options(_LAST)
    panel = panel.height(HEIGHT // 2).span(FULL // 6).no_value(NOTHING)
    panel = panel.thresholds(dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps))
    return panel.graph_mode(words.BigValueGraphMode.AREA).with_target(_query(expression, 0).range())


def truth(title: str, text: str, expression: str, name: str) -> Panel:
    """Return a panel of what is true, false or unknown (1, 0, -1), as words with their reasons."""
    panel = (
        stat.Panel().title(title).description(text).datasource(SOURCE).mappings(TRUTH).reduce_options(_LAST)
    )
    panel = (
        panel.height(HEIGHT // 2)
        .span(FULL // 6)
        .no_value(NOTHING)
        .text_mode(words.BigValueTextMode.VALUE_AND_NAME)
    )
    return panel.graph_mode(words.BigValueGraphMode.NONE).with_target(
        _query(expression, 0).instant().legend_format(name)
    )


def totals(title: str, text: str, expression: str, name: str, *, unit: str) -> Panel:
    """Return a panel of some numbers, as they are at the end of the time shown."""
    panel = stat.Panel().title(title).description(text).datasource(SOURCE).unit(unit).reduce_options(_LAST)
    panel = panel.height(HEIGHT).span(THIRD).no_value(NOTHING).graph_mode(words.BigValueGraphMode.NONE)
    return panel.text_mode(words.BigValueTextMode.VALUE_AND_NAME).with_target(
        _query(expression, 0).instant().legend_format(name)
    )


def timeline(title: str, text: str, expression: str, name: str, *, width: int = HALF) -> Panel:
    """Return a panel of what was true, false or unknown when."""
    panel = statetimeline.Panel().title(title).description(text).datasource(SOURCE).mappings(TRUTH)
    panel = (
        panel.height(HEIGHT).span(width).show_value(words.VisibilityMode.NEVER).fill_opacity(70).line_width(0)
    )
    return panel.with_target(_query(expression, 0).range().legend_format(name))


def rows(title: str, text: str, expression: str, columns: dict[str, str], *, width: int = HALF) -> Panel:
    """Return a table of series as they are now.

    Args:
        title: title of the panel.
        text: what it shows.
        expression: the query.
        columns: headings by label, in their order; `Value` is the series' value.
        width: of 24.
    """
    organised = models.DataTransformerConfig(
        id_val="organize",
        options={
            "includeByName": dict.fromkeys(columns, True),
            "indexByName": {label: place for place, label in enumerate(columns)},
            "renameByName": columns,
        },
    )
    panel = table.Panel().title(title).description(text).datasource(SOURCE).mappings(TRUTH)
    panel = panel.height(HEIGHT).span(width).filterable(filterable=True).with_transformation(organised)
    return panel.with_target(_query(expression, 0).instant().format(PromQueryFormat.TABLE))


def rate(metric: str, by: str, selector: str) -> str:
    """Return a query of what a counter grows by in a second, by labels."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantiles(metric: str, selector: str, by: str = "") -> tuple[Query, Query]:
    """Return queries of the median and the 99th percentile of a histogram."""
    grouped = f"le, {by}" if by else "le"
    prefix = f"{{{{{by}}}}} " if by else ""
    buckets = rate(f"{metric}_bucket", grouped, selector)
    return (
        (f"histogram_quantile(0.5, {buckets})", f"{prefix}p50"),
        (f"histogram_quantile(0.99, {buckets})", f"{prefix}p99"),
    )


def text_of(built: dashboard.Dashboard) -> str:
    """Return a dashboard as Grafana's JSON, panels numbered in their order."""
    model = built.build()
    for number, panel in enumerate(model.panels or [], 1):
        panel.id_val = number
    return json.dumps(model, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _query(expression: str, number: int) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).ref_id(chr(ord("A") + number)).datasource(SOURCE)
