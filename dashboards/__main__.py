"""Write the dashboard that gap_tune ships."""

from __future__ import annotations

from pathlib import Path

import gap_tune.dashboards
from dashboards.grafana import dashboard_json

path = Path(gap_tune.dashboards.__file__).with_name("grafana.json")
path.write_text(dashboard_json(), encoding="utf-8")
print(f"written to {path}")
