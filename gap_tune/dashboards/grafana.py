"""Grafana's JSON of the dashboard."""

from __future__ import annotations

from typing import Any

from gap_tune.dashboards.panels import ROWS, Panel

UID = "gap-tune"
_DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDTH, _HEIGHT, _COLUMNS = 12, 8, 2


def grafana_dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON model.

    Its variables are ``study``, and ``datasource`` and ``SessionName``, which Ray's own Metrics
    page sets when it embeds a dashboard.

    >>> grafana_dashboard()["uid"]
    'gap-tune'
    """
    return {
        "uid": UID,
        "title": "gap_tune",
        "description": "Momentum, gains, decisions and regret of studies on Ray Tune.",
        "tags": ["gap_tune", "ray"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "panels": _panels(),
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "hide": 0,
        },
        _labels("SessionName", "Ray session", "label_values(ray_gap_tune_trials, SessionName)"),
        _labels(
            "study",
            "Study",
            'label_values(ray_gap_tune_trials{SessionName=~"$SessionName"}, study)',
        ),
    ]


def _labels(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": name},
        # On every change of the time range: studies come and go.
        "refresh": 2,
        "sort": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def _panels() -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    top = 0
    for title, panels in ROWS.items():
        place = {"x": 0, "y": top, "w": _WIDTH * _COLUMNS, "h": 1}
        row = {"type": "row", "title": title, "collapsed": False, "panels": []}
        made.append({**row, "id": len(made) + 1, "gridPos": place})
        for number, panel in enumerate(panels):
            line, column = divmod(number, _COLUMNS)
            place = {"x": _WIDTH * column, "y": top + 1 + _HEIGHT * line}
            place |= {"w": _WIDTH, "h": _HEIGHT}
            made.append({**_panel(panel), "id": len(made) + 1, "gridPos": place})
        top += 1 + _HEIGHT * -(-len(panels) // _COLUMNS)
    return made


def _panel(panel: Panel) -> dict[str, Any]:
    limits = {"min": panel.low, "max": panel.high}
    custom = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 20 if panel.stacked else 0,
        "showPoints": "never",
        "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        "scaleDistribution": {"type": "log", "log": 10}
        if panel.logarithmic
        else {"type": "linear"},
    }
    return {
        "type": "timeseries",
        "title": panel.title,
        "description": panel.description,
        "datasource": _DATASOURCE,
        "fieldConfig": {
            "defaults": {
                "unit": panel.unit,
                "custom": custom,
                **{name: value for name, value in limits.items() if value is not None},
            },
            "overrides": [],
        },
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _DATASOURCE,
                "editorMode": "code",
                "expr": query.expression,
                "legendFormat": query.legend,
                "range": True,
            }
            for number, query in enumerate(panel.queries)
        ],
    }
