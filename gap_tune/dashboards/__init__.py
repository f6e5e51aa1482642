"""Dashboards: Grafana's, and the settings of Prometheus, Grafana and Ray that bring it to life."""

from gap_tune.dashboards.files import Addresses, write_dashboards
from gap_tune.dashboards.grafana import grafana_dashboard

__all__ = ["Addresses", "grafana_dashboard", "write_dashboards"]
