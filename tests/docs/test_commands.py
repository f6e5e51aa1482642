"""The commands that pages tell to type exist, with their options, and do what is said."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import ray.tune.utils.callback
import typer
import yaml

from gap_tune import cli
from gap_tune.study.budget import ArmBudget
from gap_tune.study.grammar import parse_arm
from tests.docs.pages import ROOT, commands

COMMANDS = commands()


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
    command, rest = typer.main.get_command(cli.app).commands[name], list(arguments)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    parsed = command.make_context(name, rest)
    if name == "compare":
        for arm in (parsed.params["arms"] or "gap").split(","):
            parse_arm(arm)
        ArmBudget.parse(parsed.params["budget"] or "own")


@pytest.mark.slow
def test_the_quick_commands_do_what_the_pages_say(
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
