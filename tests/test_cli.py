from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import torch

from gap_tune import cli
from gap_tune.control.update import update_of
from gap_tune.errors import InvalidValueError
from gap_tune.rules import get_rule
from gap_tune.study.grammar import arm_names, parse_arm
from gap_tune.theory.families import THEORY_FAMILIES, Implementation, Update
from gap_tune.workloads.registry import get_workload, workload_names

COMMANDS = [
    *(str(each.callback.__name__) for each in cli.app.registered_commands if each.callback),
    *(str(group.name) for group in cli.app.registered_groups),
]


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["gap-tune", *arguments])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["compare", "imagenet"], "but got 'imagenet'"),
        (["compare", "digits-resnet", "--arms", "gap,adam"], "but got 'adam'"),
        (["compare", "quadratic", "--arms", "gap-pauper"], "with a rule of ['alignment', "),
        (["compare", "quadratic", "--arms", "nowhere:Rule"], "No module named 'nowhere'"),
        (["compare", "digits-resnet", "--arms", "fixed:1.5"], "in [0, 1), but got 1.5"),
        (["compare", "digits-resnet", "--arms", "fixed:-0.1"], "in [0, 1), but got -0.1"),
        (["compare", "digits-resnet", "--lr", "0"], "lr must be a number in (0, inf)"),
        (["compare", "digits-resnet", "--lr", "-0.5"], "lr must be a number in (0, inf)"),
        (["demo", "--seeds", "0"], "seeds must be an integer of at least 1, but got 0"),
        (["demo", "--epochs", "0"], "epochs must be an integer of at least 1, but got 0"),
        (["demo", "--cpus", "0"], "cpus must be an integer of at least 1, but got 0"),
        (["demo", "--seeds", "many"], "Invalid value for '--seeds'"),
        (["demo", "--speed", "9"], "--speed"),
        (["--speed", "9"], "--speed"),
        (["train"], "No such command"),
        (["probe"], "Missing argument"),
        (["compare", "quadratic", "--budget", "hours:3"], "budget must be 'own', 'trials:<n>'"),
        (["compare", "quadratic", "--family", "lion"], "family must be one of"),
        (["compare", "quadratic", "--lr-range", "1", "0.1"], "the lower one first"),
        (["compare", "quadratic", "--lrs", "0"], "lrs must be an integer of at least 1, but got 0"),
        (["compare", "quadratic", "--arms", "pbt", "--lrs", "3"], "lrs must come with an arm that"),
        (["compare", "quadratic", "--gpus-per-trial", "-1"], "gpus_per_trial must be a number in"),
        (["compare", "quadratic", "--resume"], "--resume must come with --out"),
        (["compare", "nothing.yaml"], "nothing.yaml: No such file or directory"),
        (["report", "nowhere"], "must be the folder of a gap_tune study"),
        (["resume", "nowhere"], "must be the folder of a gap_tune study"),
    ],
)
def test_bad_input_is_one_line_and_status_2_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    complaint: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("gap-tune: error: ")
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["comapre", "quadratic"], "'compare'"),
        (["--versoin"], "--version"),
        (["compare", "quadratic", "--fmaily", "sgd"], "--family"),
        (["panel", "--no-quik"], "--no-quick"),
        (["panel", "--half", "helf-out"], "'held-out'"),
        (["compare", "quadratc"], "'quadratic'"),
        (["compare", "quadratic", "--arms", "gap,yellowfinn"], "'yellowfin'"),
        (["compare", "quadratic", "--arms", "gap-horizn"], "'gap-horizon'"),
        (["compare", "quadratic", "--family", "sdg"], "'sgd'"),
        (["compare", "quadratic", "--progress", "tabel"], "'table'"),
        (["compare", "study.yaml"], "'seeds'"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_one_that_was_meant(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    meant: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.yaml").write_text("workload: quadratic\nseedz: 3\n")
    assert call(monkeypatch, *arguments) == 2
    captured = capsys.readouterr()
    question = captured.err.rpartition(". ")[2]
    assert question.startswith("Did you mean ")
    assert meant in question
    assert captured.err.endswith("?\n")
    assert captured.err.count("\n") == 1


def test_a_setting_of_a_rule_that_is_mistyped_is_answered_with_the_one_that_was_meant() -> None:
    with pytest.raises(InvalidValueError, match=r"but got \['hysteresys'\]\. Did you mean 'hyst"):
        get_rule({"name": "alignment", "hysteresys": 0.1})


def test_a_name_like_no_other_is_not_answered_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["compare", "imagenet"], ["train"], ["demo", "--bananas"]):
        assert call(monkeypatch, *arguments) == 2
        assert "Did you mean" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_whole_words_and_whole_sentences_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert call(monkeypatch, *command.split(), "--help") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    # A name that is broken at its hyphen ends a line with it.
    assert not [line for line in lines if line.rstrip().endswith("-")]
    assert not [line for line in lines if line.rstrip().endswith("...") and "Usage" not in line]


def test_the_list_of_commands_says_of_each_what_its_own_help_begins_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--help") == 0
    listed = " ".join(capsys.readouterr().out.split())
    for command in COMMANDS:
        assert call(monkeypatch, command, "--help") == 0
        first = " ".join(capsys.readouterr().out.split("\n\n")[1].split())
        assert f"{command} {first}" in listed


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("nowhere/at_all", "there is no such folder"),
        ("./empty", "it holds neither"),
        ("file", "it is a file"),
    ],
)
def test_bug_a_place_without_a_study_is_called_as_it_was_typed(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    typed: str,
    found: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    assert call(monkeypatch, "report", typed, "--metric", "loss") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gap-tune: error: {typed} must be the folder of a gap_tune study, ")
    assert "which holds experiment/study.json, or of a Ray Tune experiment, which holds" in error
    assert error.endswith(f"but {found}.\n")
    assert call(monkeypatch, "resume", typed) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"gap-tune: error: {typed} must be the folder of a gap_tune study")
    assert "Ray Tune experiment" not in error
    assert str(tmp_path) not in error


def test_an_output_folder_that_cannot_be_written_is_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert call(monkeypatch, "demo", "--out", str(tmp_path / "file" / "out")) == 2
    assert "storage must be a folder that can be written" in capsys.readouterr().err


def test_help_lists_the_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--help") == 0
    text = capsys.readouterr().out
    for command in ("demo", "compare", "report", "resume", "families", "workloads"):
        assert command in text
    assert call(monkeypatch, "demo", "--help") == 0
    text = capsys.readouterr().out
    for option in ("--out", "--seeds", "--epochs", "--cpus"):
        assert option in text


def test_families_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "families") == 0
    text = capsys.readouterr().out
    for word in ("AdamW", "torch.optim.SGD", "Cor. 5", "Lion"):
        assert word in text
    # Each table says what it is for.
    family, arms, attach, theory = (text.index(f"\n{word}") for word in HEADINGS)
    assert "\n sgd " in text[family:arms]
    assert "\n adamw " in text[family:arms]
    assert "\n yellowfin " in text[arms:attach]
    assert "torch.optim.NAdam" in text[attach:theory]
    assert "torch.optim.Adagrad" not in text[attach:theory]
    assert "classes: torch.optim.RMSprop(momentum > 0)\n" in text[theory:]


HEADINGS = ("--family: ", "--arms: ", "gap_tune.attach: ", "gap_tune.theory: ")


TUNED = [
    implementation
    for family in THEORY_FAMILIES.values()
    if family.update is not Update.MEMORYLESS
    for implementation in family.implementations
    if implementation.path.startswith("torch.")
]


@pytest.mark.parametrize("implementation", TUNED, ids=str)
def test_what_families_says_of_attach_is_so(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    implementation: Implementation,
) -> None:
    assert call(monkeypatch, "families") == 0
    assert implementation.path in capsys.readouterr().out
    name = implementation.path.rpartition(".")[2]
    if not hasattr(torch.optim, name):
        pytest.skip(f"torch {torch.__version__} has no {name}")
    optimizer = getattr(torch.optim, name)
    momentum = {"momentum": 0.9} if implementation.settings else {}
    settings = {**implementation.settings, **momentum}
    assert update_of(optimizer([torch.nn.Parameter(torch.ones(2, 2))], lr=0.1, **settings))


def test_version_is_the_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"gap-tune {version('gap-tune')}\n"


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("compare digits-c", ["digits-cnn"]),
        ("probe quad", ["quadratic"]),
        ("compare quadratic --family ", ["sgd", "adamw"]),
        ("compare quadratic --arms gap-p", ["gap-paper"]),
        ("compare quadratic --arms gap,fixed:", ["gap,fixed:", "gap,fixed:grid"]),
        ("compare quadratic --arms yellowfin,yel", []),
    ],
)
def test_a_shell_completes_names(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    completed: list[str],
) -> None:
    monkeypatch.setenv("_GAP_TUNE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"gap-tune {words}")
    monkeypatch.setenv("COMP_CWORD", str(words.count(" ") + 1))
    assert call(monkeypatch) == 0
    assert capsys.readouterr().out.split() == completed


def test_every_name_that_is_completed_is_one() -> None:
    arms = [name for name in arm_names() if name != "fixed:"]
    assert [parse_arm(name).name for name in arms] == arms
    for name in workload_names():
        assert get_workload(name).name == name


def test_the_console_script_is_installed() -> None:
    script = Path(sys.executable).parent / "gap-tune"
    done = subprocess.run([script, "workloads"], capture_output=True, text=True, check=True)
    assert "digits-resnet" in done.stdout


STUDY = """\
workload: quadratic
workload_options: {dimension: 10, samples: 256}
arms: [gap, "fixed:0.9"]
seeds: 5
epochs: 1
"""


def test_compare_ends_with_table_verdict_csv_and_page(
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (tmp_path / "study.yaml").write_text(STUDY)
    out = tmp_path / "out"
    command = ("compare", str(tmp_path / "study.yaml"), "--out", str(out), "--resume")
    # Options go before what the file says.
    assert call(monkeypatch, *command, "--seeds", "1") == 0
    text = capsys.readouterr().out
    assert "2 trials: 2 arms x 1 seeds, each arm at its own cost" in text
    assert "gap seed 0: finished" in text
    for name in ("report.html", "results.csv", "trials.csv", "summary.csv", "experiment"):
        assert (out / name).exists()
    assert str(out / "report.html") in text
    assert "each arm at its own cost" in (out / "report.html").read_text()

    # What has finished is read again, not run again; another comparison does not go on from it.
    before = (out / "trials.csv").read_text()
    assert call(monkeypatch, *command, "--seeds", "1") == 0
    assert (out / "trials.csv").read_text() == before
    capsys.readouterr()
    assert call(monkeypatch, *command) == 2
    assert "must ask for the comparison" in capsys.readouterr().err


def test_a_gpu_that_is_not_there_is_one_line_and_status_2(
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    arguments = ["--gpus-per-trial", "0.5", "--out", str(tmp_path / "out")]
    assert call(monkeypatch, "compare", "quadratic", *arguments) == 2
    error = capsys.readouterr().err
    assert "gpus_per_trial must be at most what the cluster has, 0, but got 0.5" in error
    assert error.count("\n") == 1


def test_bug_a_study_whose_trials_all_fail_says_so_and_where_its_errors_are(
    ray_address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    workload = "tests.workloads.failing:Failing"
    options = ["--arms", "gap,fixed:0.9", "--seeds", "1", "--epochs", "1", "--out", str(tmp_path)]
    for command in (["compare", workload, *options], ["resume", str(tmp_path)]):
        assert call(monkeypatch, *command) == 1
        captured = capsys.readouterr()
        (line,) = (each for each in captured.err.splitlines() if each.startswith("gap-tune:"))
        assert "error: all 2 trials failed, that of fixed:0.9 with seed 0 with: " in line
        assert "RuntimeError: no loss today (all of them: error.txt in the folders" in line
        assert f"below {tmp_path})" in line
        assert "report.html" in captured.out
    assert len(list(tmp_path.rglob("error.txt"))) == 2
