"""Write the dashboard that gap_tune ships."""

from __future__ import annotations

from pathlib import Path

import gap_tune.dashboards
from gap_tune.dashboards.source.grafana import dashboard_json

if __name__ == "__main__":
    path = Path(gap_tune.dashboards.__file__).with_name("grafana.json")
    path.write_text(dashboard_json(), encoding="utf-8")
    print(f"written to {path}")
