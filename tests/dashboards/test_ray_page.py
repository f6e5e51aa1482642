from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from gap_tune.dashboards import grafana_dashboard
from gap_tune.dashboards.files import DATASOURCE_NAME
from tests.chromium import keep
from tests.dashboards.conftest import RunningStudy
from tests.dashboards.driver import ARMS, STUDY
from tests.dashboards.servers import Prometheus
from tests.patience import FOREVER_S, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow


def token(study: RunningStudy) -> str:
    """Return what the command prints that the link names."""
    assert "`ray get-auth-token`" in study.link
    ray = Path(sys.executable).with_name("ray")
    asked = subprocess.run(
        [ray, "get-auth-token"], env=study.environment, capture_output=True, text=True, check=True
    )
    return asked.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def page(chromium: Browser, running_study: RunningStudy) -> Page:
    """The dashboard at the address that the terminal names, past its token."""
    page = chromium.new_page(viewport={"width": 1600, "height": 900})
    page.set_default_timeout(1000 * FOREVER_S)
    page.goto(running_study.link.split(" ")[0])
    page.get_by_role("dialog").locator("input").fill(token(running_study))
    page.get_by_role("dialog").get_by_role("button").last.click()
    page.get_by_role("dialog").wait_for(state="hidden")
    return page


def test_the_actors_page_shows_study_arm_and_seed_of_every_trial(
    page: Page, running_study: RunningStudy, tmp_path: Path
) -> None:
    page.goto(f"{running_study.url}/#/actors")
    for arm in ARMS:
        page.get_by_text(f"{STUDY}: {arm} seed 7", exact=True).first.wait_for()
    picture = tmp_path / "ray_actors_page.png"
    page.screenshot(path=picture)
    keep(picture)
    assert picture.stat().st_size > 10_000


def test_the_jobs_page_names_the_study(page: Page, running_study: RunningStudy) -> None:
    page.goto(f"{running_study.url}/#/jobs")
    page.get_by_text(f"{STUDY}: three arms", exact=True).first.wait_for()


def test_rays_metrics_page_embeds_our_dashboard(
    page: Page, running_study: RunningStudy, prometheus: Prometheus
) -> None:
    # Ray's dashboard asks Prometheus whether it is there when the page is loaded.
    wait_for(lambda: prometheus.values("vector(1)"), "Prometheus")
    page.goto(f"{running_study.url}/#/metrics")
    page.reload()
    frame = page.locator("iframe")
    frame.wait_for()
    source = urlsplit(frame.get_attribute("src") or "")
    asked = parse_qs(source.query)
    assert f"{source.scheme}://{source.netloc}" == running_study.addresses.grafana
    assert source.path.rstrip("/") == f"/d/{grafana_dashboard()['uid']}"
    assert asked["var-datasource"] == [DATASOURCE_NAME]
    assert asked["var-SessionName"][0].startswith("session_")
