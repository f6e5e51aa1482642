from __future__ import annotations

import math
import re
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from gap_tune.dashboards import write_dashboards
from gap_tune.dashboards.source.panels import ROWS
from gap_tune.tune.monitoring.instruments import TRIAL_GAUGES
from tests.dashboards.conftest import RunningStudy
from tests.dashboards.driver import ARMS, STUDY
from tests.dashboards.servers import Prometheus, free_port, prometheus_at
from tests.patience import wait_for

pytestmark = pytest.mark.slow
PANELS = {panel.title: panel for panels in ROWS.values() for panel in panels}


def with_variables(expression: str) -> str:
    """Return a query as Grafana sends it when all of every variable is chosen."""
    filled = re.sub(r"\$(SessionName|study)\b", ".*", expression)
    assert "$" not in filled
    return filled


@pytest.mark.parametrize("title", [title for title, panel in PANELS.items() if not panel.needs_gpu])
def test_every_query_of_a_panel_returns_numbers(prometheus: Prometheus, title: str) -> None:
    for query in PANELS[title].queries:
        asked = with_variables(query.expression)
        found = wait_for(partial(prometheus.values, asked), asked)
        assert all(math.isfinite(value) for _, value in found), found
        for name in re.findall(r"{{(\w+)}}", query.legend):
            assert all(name in labels for labels, _ in found), (query.legend, found)


def test_faults_and_skipped_steps_are_counted(prometheus: Prometheus) -> None:
    # What test_metrics compares exactly; here, that it arrives.
    for name in ('faults_total{kind="restart"}', "skipped_steps_total"):
        expression = f"sum(ray_gap_tune_{name})"
        found = wait_for(partial(prometheus.values, expression), expression)
        assert [value for _, value in found] == [1.0]


def test_the_variables_offer_the_session_and_the_study(prometheus: Prometheus) -> None:
    wait_for(lambda: prometheus.values("ray_gap_tune_trials"), "trials")
    match = {"match[]": "ray_gap_tune_trials"}
    assert prometheus.ask("label/study/values", **match) == [STUDY]
    (session,) = prometheus.ask("label/SessionName/values", **match)
    assert session.startswith("session_")


def test_rays_discovery_file_leads_prometheus_to_the_study(
    running_study: RunningStudy, tmp_path: Path
) -> None:
    folder = tmp_path / "written"
    write_dashboards(folder)
    configuration = folder / "prometheus/prometheus.yml"
    # This Ray keeps its files elsewhere than by default, not to meet another one's.
    text = configuration.read_text()
    assert text.count('"/tmp/ray/') == 1
    configuration.write_text(text.replace('"/tmp/ray/', f'"{running_study.temporary}/'))
    with prometheus_at(free_port(), configuration, tmp_path) as server:
        expression = f'ray_gap_tune_momentum{{study="{STUDY}"}}'
        found = wait_for(lambda: server.values(expression), expression)
        assert {labels["arm"] for labels, _ in found} <= set(ARMS)


def test_a_trials_series_end_with_it_and_the_others_go_on(running_study: RunningStudy) -> None:
    def shown() -> dict[str, set[str]]:
        """Return the arms in each gauge at the metrics port itself."""
        address = f"http://127.0.0.1:{running_study.metrics_port}/metrics"
        with urllib.request.urlopen(address) as answer:
            text = answer.read().decode()
        return {
            name: set(re.findall(rf'^ray_gap_tune_{name}{{.*?arm="(.*?)"', text, flags=re.M))
            for name in TRIAL_GAUGES
        }

    # Learning rates of baselines follow nothing.
    alone = {name: {"gap"} for name in ("scale", "agreement")}

    def wanted(arms: set[str]) -> dict[str, set[str]]:
        return dict.fromkeys(TRIAL_GAUGES, arms) | alone

    wait_for(lambda: shown() == wanted(set(ARMS)), "every arm in gauges")
    running_study.end("fixed:0.5")
    left = set(ARMS) - {"fixed:0.5"}
    wait_for(lambda: shown() == wanted(left), "the ended arm's series end")


def test_gpu_panels_ask_for_metrics_that_ray_exports() -> None:
    # No GPU is needed to know the names: Ray lists what its agents export.
    from ray.dashboard.modules.reporter.reporter_agent import GPU_TAG_KEYS, METRICS_GAUGES

    panels = [panel for panel in PANELS.values() if panel.needs_gpu]
    assert panels
    for panel in panels:
        for query in panel.queries:
            (name,) = re.findall(r"ray_(node_\w+)", query.expression)
            assert name in METRICS_GAUGES
            assert "GpuIndex" in GPU_TAG_KEYS
