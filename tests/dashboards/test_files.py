from __future__ import annotations

import configparser
import json
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gap_tune.dashboards import Addresses, grafana_dashboard, write_dashboards
from gap_tune.errors import InvalidValueError
from tests.cluster_configs.files import load
from tests.programs import program

PANELS = [panel for panel in grafana_dashboard()["panels"] if panel["type"] != "row"]
# Grafana's names of the units in use; another is drawn as a suffix.
UNITS = {"short", "s", "ops", "percent", "bytes", "mbytes"}


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_a_panel_has_a_title_a_unit_a_description_and_queries(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert panel["description"].endswith((".", "..."))
    assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
    assert panel["targets"]
    for target in panel["targets"]:
        assert 'SessionName=~"$SessionName"' in target["expr"]
        assert target["legendFormat"]
    letters = [target["refId"] for target in panel["targets"]]
    assert len(set(letters)) == len(letters)


def test_panels_have_their_own_numbers_titles_and_places() -> None:
    panels = grafana_dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for one, other in combinations([panel["gridPos"] for panel in panels], 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below
        assert one["x"] + one["w"] <= 24


def test_the_dashboard_has_the_variables_that_rays_metrics_page_sets() -> None:
    names = {variable["name"] for variable in grafana_dashboard()["templating"]["list"]}
    assert {"datasource", "SessionName"} <= names


@pytest.fixture
def written(tmp_path: Path) -> Path:
    return write_dashboards(tmp_path / "with a 'quote' and spaces").parent


def test_every_file_is_what_its_program_reads(written: Path) -> None:
    json.loads((written / "grafana/dashboards/gap_tune.json").read_text())
    (provider,) = load_yaml(written / "grafana/provisioning/dashboards/gap_tune.yaml")["providers"]
    assert (Path(provider["options"]["path"]) / "gap_tune.json").is_file()
    source = load_yaml(written / "grafana/provisioning/datasources/gap_tune.yaml")
    assert [each["name"] for each in source["datasources"]] == ["Prometheus"]
    ini = configparser.ConfigParser(interpolation=None)
    ini.read_string((written / "grafana/grafana.ini").read_text())
    assert Path(ini["paths"]["provisioning"], "dashboards/gap_tune.yaml").is_file()
    assert ini["security"]["allow_embedding"] == "true"


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_prometheus_accepts_its_configurations(written: Path) -> None:
    for name in ("prometheus.yml", "static.yml"):
        subprocess.run(
            [program("promtool"), "check", "config", written / "prometheus" / name], check=True
        )


def test_a_shell_reads_rays_settings_from_the_command_in_the_readme(written: Path) -> None:
    third = (written / "README.txt").read_text().split("\n3. ")[1].splitlines()[0]
    reading = third.rpartition(";")[0]
    said = subprocess.run(
        ["sh", "-c", f"{reading}; env"], capture_output=True, text=True, check=True, env={}
    )
    assert {
        "RAY_PROMETHEUS_HOST=http://localhost:9090",
        "RAY_PROMETHEUS_NAME=Prometheus",
        "RAY_GRAFANA_HOST=http://localhost:3000",
        "RAY_GRAFANA_IFRAME_HOST=http://localhost:3000",
        "RAY_GRAFANA_DEFAULT_DASHBOARD_UID=gap-tune",
    } <= set(said.stdout.splitlines())


def test_rays_dashboard_reads_the_settings_that_are_written(written: Path) -> None:
    from ray.dashboard.modules.metrics import grafana_dashboard_factory, metrics_head

    known = {
        metrics_head.PROMETHEUS_HOST_ENV_VAR,
        metrics_head.PROMETHEUS_NAME_ENV_VAR,
        metrics_head.GRAFANA_HOST_ENV_VAR,
        metrics_head.GRAFANA_IFRAME_HOST_ENV_VAR,
        grafana_dashboard_factory.GRAFANA_DASHBOARD_UID_OVERRIDE_ENV_VAR_TEMPLATE.format(
            name="DEFAULT"
        ),
    }
    lines = (written / "ray.env").read_text().splitlines()
    assert {line.partition("=")[0] for line in lines if not line.startswith("#")} == known


def test_the_static_target_is_the_port_that_cluster_configs_open() -> None:
    compose = load("docker/compose.yaml")
    (target,) = Addresses().targets
    assert f"--metrics-export-port={target.rpartition(':')[2]}" in str(compose["services"])


@pytest.mark.parametrize(
    "wrong",
    [
        {"grafana": "localhost:3000"},
        {"prometheus": "http://"},
        {"prometheus": "http://x/$(reboot)"},
        {"targets": ["host"]},
        {"targets": ["host:port"]},
        {"targets": ["a b:1"]},
    ],
)
def test_addresses_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidValueError, match="must be"):
        Addresses(**wrong)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InvalidValueError, match="out must be a folder"):
        write_dashboards(tmp_path / "file")


def test_the_command_writes_for_the_addresses_that_it_is_given(tmp_path: Path) -> None:
    from gap_tune.cli import app

    options = ["--out", str(tmp_path / "out"), "--grafana", "https://watch.example.org"]
    ports = ["--target", "head:8080", "--target", "[::1]:9000"]
    answer = CliRunner().invoke(app, ["dashboards", *options, *ports])
    assert answer.exit_code == 0, answer.output
    assert (tmp_path / "out/README.txt").read_text().rstrip() in answer.output
    assert "RAY_GRAFANA_HOST=https://watch.example.org\n" in (tmp_path / "out/ray.env").read_text()
    static = load_yaml(tmp_path / "out/prometheus/static.yml")
    (job,) = static["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["head:8080", "[::1]:9000"]}]


def test_bug_the_commands_listen_where_the_addresses_say(tmp_path: Path) -> None:
    given = Addresses(grafana="http://localhost:3001", prometheus="http://localhost:9091")
    text = write_dashboards(tmp_path, given).read_text()
    assert "--web.listen-address=127.0.0.1:9091" in text
    assert "http_port = 3001" in (tmp_path / "grafana" / "grafana.ini").read_text()
