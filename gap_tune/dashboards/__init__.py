"""Dashboards: Grafana's, and the settings of Prometheus, Grafana and Ray that bring it to life.

Names load when they are first used: the help of the command line has no need of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gap_tune._lazy import lazily

if TYPE_CHECKING:
    from gap_tune.dashboards.files import Addresses as Addresses
    from gap_tune.dashboards.files import write_dashboards as write_dashboards
    from gap_tune.dashboards.grafana import grafana_dashboard as grafana_dashboard
else:
    __getattr__, __dir__, __all__ = lazily(
        __name__,
        {
            "gap_tune.dashboards.files": ["Addresses", "write_dashboards"],
            "gap_tune.dashboards.grafana": ["grafana_dashboard"],
        },
    )
