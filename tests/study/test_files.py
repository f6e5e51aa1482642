from __future__ import annotations

from pathlib import Path

import pytest

from gap_tune.errors import InvalidValueError
from gap_tune.study.files import read_study_file

WHOLE = """\
workload: digits-mlp
workload_options:
  label_noise: 0.2
arms: [gap, "fixed:0.9", fixed:grid, optuna:16]
family: adamw
seeds: 5
metric: validation_accuracy
mode: max
epochs: 3
lr: 1e-3
lr_range: [1e-4, 0.01]
lrs: 2
budget: trials:16
reports_per_epoch: 2
margin: 0.05
cpus: 8
cpus_per_trial: 2
gpus_per_trial: 0.5
out: results/noisy
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def test_a_file_says_all_that_a_study_can_be_told(tmp_path: Path) -> None:
    assert read_study_file(written(tmp_path, WHOLE)) == {
        "workload": "digits-mlp",
        "workload_options": {"label_noise": 0.2},
        "arms": ["gap", "fixed:0.9", "fixed:grid", "optuna:16"],
        "family": "adamw",
        "seeds": 5,
        "metric": "validation_accuracy",
        "mode": "max",
        "epochs": 3,
        "lr": 0.001,
        "lr_range": [0.0001, 0.01],
        "lrs": 2,
        "budget": "trials:16",
        "reports_per_epoch": 2,
        "margin": 0.05,
        "cpus": 8,
        "cpus_per_trial": 2,
        "gpus_per_trial": 0.5,
        "out": "results/noisy",
    }


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("", 1, "a study file must be a mapping"),
        ("- gap\n", 1, "a study file must be a mapping"),
        ("workload: [quadratic\n", 2, "a study file must be YAML, but"),
        ("workload: quadratic\nseeds: !!python/name:os.system\n", 2, "must be YAML, but could not"),
        ("seeds: 3\n", 1, "a study file must name a workload"),
        ("workload: quadratic\nseed: 3\n", 2, "a key must be one of"),
        ("workload: quadratic\n3: 3\n", 2, "a key must be one of"),
        ("workload: quadratic\n? [a]\n: 3\n", 2, "a key must be one of"),
        ("workload: quadratic\nseeds: 3\nseeds: 4\n", 3, "'seeds' stands in line 2 too"),
        ("\nworkload: imagenet\n", 2, "workload must be one of"),
        ("workload: 3\n", 1, "workload must be text, but got 3"),
        ("workload: quadratic\nworkload_options: 3\n", 2, "must be a mapping of names to values"),
        ("workload: quadratic\nworkload_options:\n  size: 3\n", 2, "options of quadratic must"),
        (
            "workload: quadratic\nworkload_options: {noise: -1}\n",
            2,
            "noise must be a number in [0, inf)",
        ),
        ("workload: quadratic\nworkload_options: {3: 4}\n", 2, "must have names, but got [3]"),
        (
            "workload: quadratic\nworkload_options: {noise: 2026-01-01}\n",
            2,
            "must hold plain JSON values",
        ),
        ("workload: quadratic\narms: gap\n", 2, "arms must be a list of names, but got 'gap'"),
        ("workload: quadratic\narms:\n- gap\n- adam\n", 4, "but got 'adam'"),
        ("workload: quadratic\narms:\n- gap\n- 0.9\n", 4, "arms must be a list of names"),
        ("workload: quadratic\narms: []\n", 2, "one or more different methods"),
        ("workload: quadratic\narms: [gap, gap]\n", 2, "one or more different methods"),
        ("workload: quadratic\nseeds: 0\n", 2, "seeds must be an integer of at least 1, but got 0"),
        ("workload: quadratic\nseeds: many\n", 2, "seeds must be a whole number, but got 'many'"),
        ("workload: quadratic\nseeds: 1.5\n", 2, "seeds must be a whole number, but got 1.5"),
        ("workload: quadratic\nseeds: true\n", 2, "seeds must be a whole number, but got True"),
        ("workload: quadratic\nseeds:\n", 2, "seeds must be a whole number, but got None"),
        ("workload: quadratic\nmetric: test_loss\n", 2, "metric must be one that every report"),
        ("workload: quadratic\nmode: lowest\n", 2, "mode must be 'min' or 'max'"),
        ("workload: quadratic\nfamily: lion\n", 2, "family must be one of"),
        ("workload: quadratic\nepochs: 0\n", 2, "epochs must be an integer"),
        ("workload: quadratic\nlr: 0\n", 2, "lr must be a number in (0, inf)"),
        ("workload: quadratic\nlr: fast\n", 2, "lr must be a number, but got 'fast'"),
        ("workload: quadratic\nlr_range: [1]\n", 2, "lr_range must be two numbers"),
        ("workload: quadratic\nlr_range: [2, 1]\n", 2, "the lower one first"),
        ("workload: quadratic\nlr_range: [1, fast]\n", 2, "lr_range must be a list of two numbers"),
        ("workload: quadratic\nlrs: 0\n", 2, "lrs must be an integer of at least 1, but got 0"),
        ("workload: quadratic\nlrs: [0.1]\n", 2, "lrs must be a whole number, but got [0.1]"),
        ("workload: quadratic\nbudget: 8\n", 2, "budget must be text, but got 8"),
        ("workload: quadratic\nbudget: hours:8\n", 2, "budget must be 'own'"),
        ("workload: quadratic\nreports_per_epoch: 0\n", 2, "reports_per_epoch must be an integer"),
        ("workload: quadratic\nmargin: 3\n", 2, "margin must be a number in (0, 1), but got 3"),
        ("workload: quadratic\ncpus: 0\n", 2, "cpus must be an integer"),
        ("workload: quadratic\ncpus_per_trial: 0\n", 2, "cpus_per_trial must be an integer"),
        ("workload: quadratic\ngpus_per_trial: -1\n", 2, "gpus_per_trial must be a number in"),
        ("workload: quadratic\nout: 3\n", 2, "out must be text, but got 3"),
    ],
)
def test_what_no_study_can_have_is_one_line_with_its_number(
    tmp_path: Path, text: str, line: int, complaint: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InvalidValueError) as raised:
        read_study_file(path)
    message = str(raised.value)
    assert message.startswith(f"{path}, line {line}: ")
    assert complaint in message
    assert "\n" not in message


def test_a_file_that_is_not_there_or_not_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidValueError, match=r"none\.yaml: No such file or directory"):
        read_study_file(tmp_path / "none.yaml")
    (tmp_path / "study.yaml").write_bytes(b"workload: \xff\n")
    with pytest.raises(InvalidValueError, match=r"study\.yaml, line 1: a study file must be YAML"):
        read_study_file(tmp_path / "study.yaml")
