"""The dashboard as Grafana's JSON, which ``make dashboard`` writes."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

UID = "gap-tune"


def grafana_json() -> str:
    """Return the text of the dashboard.

    Its variables are ``study``, and ``datasource`` and ``SessionName``, which Ray's own Metrics
    page sets when it embeds a dashboard.
    """
    return files("gap_tune.dashboards").joinpath("grafana.json").read_text(encoding="utf-8")


def grafana_dashboard() -> dict[str, Any]:
    """Return the dashboard as Grafana's JSON model.

    >>> grafana_dashboard()["uid"]
    'gap-tune'
    """
    dashboard: dict[str, Any] = json.loads(grafana_json())
    return dashboard
