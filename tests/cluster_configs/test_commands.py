from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main

from gap_tune import cli
from gap_tune.study.arms import check_arms
from gap_tune.study.grammar import parse_arm
from gap_tune.workloads import get_workload
from tests.cluster_configs.files import CONFIGS, FILES, ROOT, joined, studies

COMMAND = typer.main.get_command(cli.app)
STARTS_A_STUDY = {
    "aws.yaml",
    "azure.yaml",
    "docker/compose.yaml",
    "gcp.yaml",
    "kubernetes/raycluster.yaml",
    "kubernetes/rayjob.yaml",
    "local/study.sh",
    "onprem.yaml",
    "slurm/study.sbatch",
    "study.sh",
}
names = {"argvalues": FILES, "ids": [str(path.relative_to(CONFIGS)) for path in FILES]}


def parse(arguments: list[str]) -> dict[str, object]:
    """Parse as `gap-tune` would, without running anything."""
    name, *rest = arguments
    return COMMAND.commands[name].make_context(name, rest).params


def test_every_configuration_starts_a_study_that_exists() -> None:
    found = {str(path.relative_to(CONFIGS)): studies(path) for path in FILES}
    assert {name for name, commands in found.items() if commands} == STARTS_A_STUDY
    for commands in found.values():
        for command in commands:
            given = parse(command)
            get_workload(str(given["workload"]))
            arms = check_arms(tuple(parse_arm(arm) for arm in str(given["arms"]).split(",")))
            assert "gap" in {arm.name for arm in arms}


def test_the_parser_that_checks_the_studies_refuses_what_does_not_exist() -> None:
    with pytest.raises(KeyError):
        parse(["train", "digits-resnet"])
    with pytest.raises(Exception, match="No such option"):
        parse(["compare", "digits-resnet", "--gpus", "1"])


def test_study_sh_starts_or_continues_what_it_is_told_to() -> None:
    (call,) = re.findall(r"^exec gap-tune (.*)$", (CONFIGS / "study.sh").read_text(), re.M)
    expanded = shlex.split(call.replace('"$@"', "digits-resnet").replace("$folder", "s3://b/x"))
    assert expanded[0] == "compare"
    given = parse(expanded)
    assert given["workload"] == "digits-resnet"
    assert given["out"] == "s3://b/x"
    assert given["resume"] is True


@pytest.mark.parametrize("path", **names)
def test_all_gap_tune_commands_in_the_text_exist(path: Path) -> None:
    for name in re.findall(r"`gap-tune ([a-z]+)", joined(path)):
        assert name in COMMAND.commands


@pytest.mark.parametrize("path", **names)
def test_the_head_comment_says_what_to_change_and_the_one_command(path: Path) -> None:
    if path.suffix == ".md":
        return
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#!")]
    head = "\n".join(lines[: next(i for i, line in enumerate(lines) if line[:1] != "#")])
    assert "# Change" in head
    (command,) = re.findall(r"One command[^:]*:\s*#?\s*(\S.*)", head)
    # It names a file of this repository: the file itself, which an image's build does with -f.
    files = re.findall(r"cluster_configs/[\w./]+", command)
    assert files[0] == str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", **names)
def test_no_secret_and_no_way_around_authentication(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"RAY_AUTH_MODE\W+disabled", text)
    for name, value in re.findall(r"(\w*(?:TOKEN|PASSWORD|SECRET)\w*)\s*[:=]\s*(\S+)", text):
        assert value.startswith(("$", '"$')), f"{path.name}: {name} must come from the environment"
    assert not re.search(r"AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE KEY", text)


@pytest.mark.parametrize("path", [p for p in FILES if p.suffix in (".sh", ".sbatch")])
def test_scripts_are_valid_and_stop_at_the_first_error(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    assert "set -euo pipefail" in path.read_text()


def test_the_readme_names_every_file() -> None:
    text = (CONFIGS / "README.md").read_text()
    for path in FILES:
        name = str(path.relative_to(CONFIGS))
        assert name == "README.md" or f"({name})" in text
    for name in re.findall(r"\]\(([\w./]+)\)", text):
        assert (CONFIGS / name).exists()
