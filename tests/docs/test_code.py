"""The code of README.md and of every page of docs/ runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ray import tune

from gap_tune.study.files import read_study_file
from gap_tune.study.own.space import encode, read_space
from tests.docs.conftest import run
from tests.docs.pages import TEXTS, blocks
from tests.home import at_home

# README's first block is run by the fixture, the tutorial is one program, with a test of its own.
RECIPES = [
    (page, code)
    for page in TEXTS
    if page != "docs/tutorial.md"
    for code in blocks(page, "python")[1 if page == "README.md" else 0 :]
]


@pytest.mark.slow
def test_the_first_block_tunes_every_trial(first: dict[str, Any]) -> None:
    results = first["results"]
    assert not results.errors
    assert len(results) == 2
    for result in results:
        assert result.metrics["gap/mode"] == "scheduler"
        assert result.metrics["training_iteration"] == 5
        assert 0 <= result.metrics["gap/momentum"] < 1
        decided = result.metrics_dataframe["gap/reason"].to_list()
        assert all(decided[:-1]), "a report has no decision"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "code"), RECIPES, ids=[f"{page}-{i}" for i, (page, _) in enumerate(RECIPES)]
)
def test_a_recipe_runs(
    page: str, code: str, first: dict[str, Any], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.sub(r'"~/ray_results/\w[^"]*"', repr(first["results"].experiment_path), code)
    after = run(code, dict(first), page)
    # New training functions are as good as the first: they keep to what a session offers.
    assert after.keys() >= {"train", "tuner", "results"}


def test_every_page_with_recipes_is_run() -> None:
    assert len(RECIPES) >= 17
    assert len({page for page, _ in RECIPES}) >= 12
    marks = {page: len(re.findall(r"^```\w", text, re.MULTILINE)) for page, text in TEXTS.items()}
    known = ("python", "console", "yaml", "text")
    found = {page: sum(len(blocks(page, each)) for each in known) for page in TEXTS}
    assert found == marks, "a block is of another language, or does not end"


@pytest.mark.slow
def test_a_session_of_the_recipe_with_restore_trains(first: dict[str, Any], tmp_path: Path) -> None:
    (code,) = [code for _, code in RECIPES if "trial.restore(" in code]
    (result,) = tune.Tuner(
        run(code, dict(first), "the recipe")["train"],
        param_space={"lr": 0.01, "momentum": 0.9, "gap": {"mode": "fixed"}},
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert result.error is None
    assert result.checkpoint is not None


@pytest.mark.slow
def test_the_tutorial_comes_to_a_decision(
    ray_address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run the page from its first block to its last, as one who types it in."""
    monkeypatch.chdir(tmp_path)
    at_home(monkeypatch, tmp_path)
    code = "\n".join(blocks("docs/tutorial.md", "python"))
    # Of each learning rate there is a trial per momentum, and each starts a process.
    quick = code.replace("trials_of(6)", "trials_of(2)").replace(
        "baselines=(0.5, 0.8, 0.9, 0.95)", "baselines=(0.9,)"
    )
    assert quick != code
    after = run(quick, {"__name__": "__tutorial__"}, "docs/tutorial.md")
    assert not after["results"].errors
    assert len(after["results"]) == 4
    by_mode = after["results"].get_dataframe()["gap/mode"].value_counts().to_dict()
    assert by_mode == {"scheduler": 2, "fixed": 2}
    out = capsys.readouterr().out
    assert "2 configurations" in out
    assert re.search(r"^Best trial: \w+ ", out, re.MULTILINE)
    assert Path("momentum.json").is_file()


def test_the_study_file_and_the_space_file_can_be_read(tmp_path: Path) -> None:
    (study,) = blocks("docs/how-to/compare-methods.md", "yaml")
    (space,) = blocks("docs/how-to/compare-your-function.md", "yaml")
    assert [page for page in TEXTS if blocks(page, "yaml")] == [
        "docs/how-to/compare-methods.md",
        "docs/how-to/compare-your-function.md",
    ]
    path = tmp_path / "study.yaml"
    path.write_text(study)
    assert read_study_file(path)["arms"] == ["gap", "fixed:0.5", "fixed:0.9", "optuna"]
    path.write_text(space)
    assert encode(read_space(path)) == {
        "lr": {"loguniform": [1e-4, 0.1]},
        "width": {"choice": [64, 128]},
        "epochs": 10,
    }
