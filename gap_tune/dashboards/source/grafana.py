"""The Grafana dashboard, built from the panels with Grafana's own classes."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import common, prometheus, timeseries
from grafana_foundation_sdk.builders.dashboard import (
    Dashboard,
    DatasourceVariable,
    QueryVariable,
    Row,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    VariableHide,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import QueryEditorMode

from gap_tune.dashboards.grafana import UID
from gap_tune.dashboards.source.panels import ROWS, Panel, Query

_DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
# Two panels beside each other: Grafana's grid is 24 wide.
_WIDTH, _HEIGHT = 12, 8
# Grafana 10 reads it, and later ones bring it up to date; the classes would say their own.
_SCHEMA_VERSION = 39


def dashboard_json() -> str:
    """Return the text of the dashboard that gap_tune ships."""
    dashboard = _dashboard().build()
    dashboard.schema_version = _SCHEMA_VERSION
    model: dict[str, Any] = json.loads(JSONEncoder().encode(dashboard))
    for variable in model["templating"]["list"]:
        if variable["type"] == "query":
            # Grafana shows it in the list of variables; its classes do not have it.
            variable["definition"] = variable["query"]["query"]
    return json.dumps(model, indent=2) + "\n"


def _dashboard() -> Dashboard:
    made = (
        Dashboard("gap_tune")
        .uid(UID)
        .description("Momentum, gains, decisions and regret of studies on Ray Tune.")
        .tags(["gap_tune", "ray"])
        .editable()
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .refresh("10s")
        .time("now-1h", "now")
        .annotations([])
        .with_variable(_datasources())
        .with_variable(
            _labels("SessionName", "Ray session", "label_values(ray_gap_tune_trials, SessionName)")
        )
        .with_variable(
            _labels(
                "study",
                "Study",
                'label_values(ray_gap_tune_trials{SessionName=~"$SessionName"}, study)',
            )
        )
    )
    numbers = count(1)
    for title, panels in ROWS.items():
        made.with_row(Row(title).id(next(numbers)))
        for panel in panels:
            made.with_panel(_panel(panel).id(next(numbers)).span(_WIDTH).height(_HEIGHT))
    return made


def _datasources() -> DatasourceVariable:
    return (
        DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .hide(VariableHide.DONT_HIDE)
    )


def _labels(name: str, label: str, query: str) -> QueryVariable:
    return (
        QueryVariable(name)
        .label(label)
        .datasource(_DATASOURCE)
        .query({"query": query, "refId": name})
        # Studies come and go.
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_DESC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(VariableOption(text=["All"], value=["$__all"]))
        .hide(VariableHide.DONT_HIDE)
    )


def _panel(panel: Panel) -> timeseries.Panel:
    scale = common.ScaleDistributionConfig()
    if panel.logarithmic:
        scale.type(kinds.ScaleDistribution.LOG).log(10)
    else:
        scale.type(kinds.ScaleDistribution.LINEAR)
    stacking = kinds.StackingMode.NORMAL if panel.stacked else kinds.StackingMode.NONE
    made = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(_DATASOURCE)
        .unit(panel.unit)
        .draw_style(kinds.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(20 if panel.stacked else 0)
        .show_points(kinds.VisibilityMode.NEVER)
        .stacking(common.StackingConfig().mode(stacking).group("A"))
        .scale_distribution(scale)
        .legend(
            common.VizLegendOptions()
            .display_mode(kinds.LegendDisplayMode.LIST)
            .placement(kinds.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(kinds.TooltipDisplayMode.MULTI)
            .sort(kinds.SortOrder.DESCENDING)
        )
    )
    if panel.low is not None:
        made.min(panel.low)
    if panel.high is not None:
        made.max(panel.high)
    for number, query in enumerate(panel.queries):
        made.with_target(_target(query, chr(ord("A") + number)))
    return made


def _target(query: Query, letter: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(letter)
        .datasource(_DATASOURCE)
        .editor_mode(QueryEditorMode.CODE)
        .expr(query.expression)
        .legend_format(query.legend)
        .range()
    )
