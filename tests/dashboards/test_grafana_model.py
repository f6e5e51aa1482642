"""The dashboard through Grafana's own classes: what they do not know does not come back."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

import gap_tune
from gap_tune.dashboards import grafana_dashboard
from gap_tune.dashboards.grafana import grafana_json
from gap_tune.dashboards.source.grafana import dashboard_json

# Grafana saves it with a variable's query, to show in the list of variables; not in its classes.
UNKNOWN_TO_THE_CLASSES = ".definition"


@pytest.fixture(scope="module", autouse=True)
def _panel_types() -> None:
    # Without them options and fields of panels would pass unread.
    plugins.register_default_plugins()


def through_grafana(dashboard: dict[str, Any]) -> Any:
    """Return what Grafana's classes make of a dashboard."""
    return json.loads(JSONEncoder().encode(Dashboard.from_json(copy.deepcopy(dashboard))))


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of what is not there any more, or not the same."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key), f"{path}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for one, other in zip(before, after, strict=True):
            yield from lost(one, other, path)
    elif before != after:
        yield path


def test_grafana_knows_all_that_the_dashboard_says() -> None:
    dashboard = grafana_dashboard()
    found = set(lost(dashboard, through_grafana(dashboard)))
    assert found == {f".templating.list{UNKNOWN_TO_THE_CLASSES}"}


def test_what_is_shipped_is_what_the_panels_make() -> None:
    assert grafana_json() == dashboard_json(), "run `make dashboard`"


def test_the_package_knows_nothing_of_grafanas_classes() -> None:
    package = Path(gap_tune.__file__).parent
    source = package / "dashboards" / "source"
    for path in set(package.rglob("*.py")) - set(source.rglob("*.py")):
        assert "grafana_foundation_sdk" not in path.read_text(), path


def mistype(container: dict[str, Any], key: str) -> None:
    container[f"{key}s"] = container.pop(key)


@pytest.mark.parametrize(
    "mistake",
    [
        lambda d: mistype(d, "refresh"),
        lambda d: mistype(d["panels"][1]["targets"][0], "legendFormat"),
        lambda d: mistype(d["panels"][1]["options"]["legend"], "placement"),
        lambda d: mistype(d["panels"][1]["fieldConfig"]["defaults"]["custom"], "drawStyle"),
        lambda d: mistype(d["templating"]["list"][1], "includeAll"),
    ],
)
def test_mistyped_keys_would_be_noticed(mistake: Callable[[dict[str, Any]], None]) -> None:
    dashboard = grafana_dashboard()
    mistake(dashboard)
    found = set(lost(dashboard, through_grafana(dashboard)))
    assert any(not path.endswith(UNKNOWN_TO_THE_CLASSES) for path in found)
