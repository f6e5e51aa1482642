"""The README's code runs as it stands, its commands exist, its error messages are the code's."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray.tune.utils.callback
import typer
import yaml
from ray import tune

from gap_tune import cli
from gap_tune.study.budget import ArmBudget
from gap_tune.study.files import read_study_file
from gap_tune.study.grammar import parse_arm
from tests import readme_messages

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


FIRST, *RECIPES = blocks("python")
COMMANDS = [
    line.removeprefix("$ ").split(" #")[0].strip()
    for block in blocks("console")
    for line in block.splitlines()
]
# What readers have of their own.
THEIRS = """
import torch

def train_one_epoch(model, optimizer):
    for _ in range(8):
        inputs = torch.randn(16, 20)
        optimizer.zero_grad()
        loss = (model(inputs)[:, 0] - inputs.sum(1)).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()
"""


def run(code: str, namespace: dict[str, Any]) -> dict[str, Any]:
    exec(compile(code, "README.md", "exec"), namespace)
    return namespace


@pytest.fixture(scope="module")
def first(ray_address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Return the names that the first block defines, after it has run."""
    with pytest.MonkeyPatch.context() as patch:
        # Ray Tune writes to the home folder where no storage is named.
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        # Each trial starts a process; two show as much as four.
        code = FIRST.replace("num_samples=4", "num_samples=2")
        yield run(THEIRS + code, {"__name__": "__readme__"})


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
@pytest.mark.parametrize("code", RECIPES, ids=range(len(RECIPES)))
def test_a_recipe_runs(code: str, first: dict[str, Any], tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    code = re.sub(r'"~/ray_results/\w[^"]*"', repr(first["results"].experiment_path), code)
    after = run(code, dict(first))
    # New training functions are as good as the first: they keep to what a session offers.
    assert after.keys() >= {"train", "tuner", "results"}


@pytest.mark.slow
def test_a_session_of_the_recipe_with_restore_trains(first: dict[str, Any], tmp_path: Path) -> None:
    (code,) = [code for code in RECIPES if "trial.restore(" in code]
    (result,) = tune.Tuner(
        run(code, dict(first))["train"],
        param_space={"lr": 0.01, "momentum": 0.9, "gap": {"mode": "fixed"}},
        run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    ).fit()
    assert result.error is None
    assert result.checkpoint is not None


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists_with_these_options(command: str) -> None:
    words = shlex.split(command)
    while "=" in words[0]:
        name = words.pop(0).partition("=")[0]
        assert name in Path(ray.tune.utils.callback.__file__).read_text(), f"Ray knows no {name}"
    program, *arguments = words
    if program == "gap-tune":
        check_options(*arguments)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    elif program in ("bash", "python", "sbatch"):
        assert (ROOT / arguments[0]).is_file()
    elif program == "kubectl":
        assert arguments[:2] == ["apply", "-f"]
        assert list(yaml.safe_load_all((ROOT / arguments[2]).read_text()))
    else:
        known = (
            "source .venv/bin/activate",
            "tensorboard --logdir ~/ray_results",
            "ray get-auth-token",
        )
        assert command in known


def check_options(name: str, *arguments: str) -> None:
    parsed = typer.main.get_command(cli.app).commands[name].make_context(name, list(arguments))
    if name == "compare":
        for arm in (parsed.params["arms"] or "gap").split(","):
            parse_arm(arm)
        ArmBudget.parse(parsed.params["budget"] or "own")


@pytest.mark.slow
def test_the_quick_commands_do_what_the_readme_says(
    first: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)

    def call(command: str) -> str:
        (given,) = [c for c in COMMANDS if c.startswith(command)]
        experiment = str(first["results"].experiment_path)
        given = re.sub(r"~/ray_results/\w\S+", experiment, given)
        monkeypatch.setattr(sys, "argv", shlex.split(given))
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        captured = capsys.readouterr()
        assert not stopped.value.code, captured.err
        return captured.out

    assert "digits-resnet" in call("gap-tune workloads")
    assert 'GapSearch(statistics="quadratic-statistics.json")' in call("gap-tune probe")
    assert Path("quadratic-statistics.json").is_file()
    assert "three commands" in call("gap-tune dashboards").lower()
    assert Path("gap_tune_dashboards").is_dir()
    assert "report.html" in call("gap-tune report ~/ray_results")
    out = call("gap-tune compare quadratic")
    assert "fixed:0.9" in out
    assert list(Path("gap_tune_results").glob("quadratic-*/report.html"))


def test_the_study_file_can_be_read(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    path = tmp_path / "study.yaml"
    path.write_text(text)
    assert read_study_file(path)["arms"] == ["gap", "fixed:0.5", "fixed:0.9", "optuna"]


ROWS = re.findall(
    r"^\| `([^|]+)` \| [^|]+ \| [^|]+ \|$", TEXT[TEXT.index("## Troubleshooting") :], re.MULTILINE
)


def test_every_message_of_the_troubleshooting_table_is_provoked() -> None:
    assert len(ROWS) >= 8
    assert len(ROWS) == len(readme_messages.PROVOKED)


@pytest.mark.parametrize("provoke", readme_messages.PROVOKED, ids=lambda f: f.__name__)
def test_a_message_is_in_the_troubleshooting_table(
    provoke: Callable[[Path], str], tmp_path: Path, ray_address: str
) -> None:
    message = provoke(tmp_path)
    found = [row for row in ROWS if row in message]
    assert len(found) == 1, f"no row of the table for: {message}"


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXT):
        if target.startswith("#"):
            assert target[1:] in headings, target
        elif not target.startswith("http"):
            assert (ROOT / target).exists(), target
    for script in re.findall(r"\b\d\d_\w+\.py", TEXT):
        assert (ROOT / "examples" / script).is_file(), script
