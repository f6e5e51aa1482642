"""Ray's tutorials with gap_tune: what is said of their lines is counted, and both versions run."""

from __future__ import annotations

import gzip
import json
import re
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gap_tune.tune import nested, read_decisions
from gap_tune.workloads.vision.idx import read_idx
from tests.home import at_home

FOLDER = Path(__file__).parents[2] / "examples" / "tutorials"
NAMES = sorted(path.stem for path in FOLDER.glob("*.py"))
# The key of the momentum, where it has another name.
MOMENTUM = {"hugging_face": "adam_beta1", "torch_trainer": "train_loop_config/momentum"}
NEW, GONE = re.compile(r"  # \+$"), re.compile(r"^( *)# - (.*)$")
MOST_NEW = 4

Run = Callable[..., Path]


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text()


def without_gap_tune(text: str) -> str:
    """Return the same tutorial for Ray alone: new lines left out, those that are gone put back."""
    lines = [GONE.sub(r"\1\2", line) for line in text.splitlines() if not NEW.search(line)]
    return "\n".join(lines) + "\n"


def write_idx(path: Path, array: np.ndarray) -> None:
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.astype(np.uint8).tobytes()))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write files of Fashion-MNIST's format: each class has a pattern of its own, below noise."""
    folder, generator = tmp_path_factory.mktemp("clothes"), np.random.default_rng(0)
    patterns = generator.integers(0, 128, (10, 28, 28))
    for part, count in (("train", 256), ("t10k", 64)):
        labels = generator.integers(0, 10, count)
        images = patterns[labels] + generator.integers(0, 128, (count, 28, 28))
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", labels)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path, files: Path) -> Run:
    """Run a tutorial's text as Python does, with one trial; return the experiment's folder."""
    at_home(monkeypatch, tmp_path)
    monkeypatch.chdir(tmp_path)

    def run(text: str) -> Path:
        monkeypatch.setattr(sys, "argv", ["tutorial.py", str(files)])
        # Each trial starts a process, which takes longest.
        text, count = re.subn(r"(num_samples|n_trials)=\d+", r"\1=1", text)
        assert count == 1
        exec(compile(text, "tutorial.py", "exec"), {"__name__": "__main__"})
        out = capsys.readouterr().out
        assert re.search(r"^best trial: accuracy [01]\.\d+$", out, re.MULTILINE), out
        (folder,) = re.findall(r"^gap-tune report (.+)$", out, re.MULTILINE)
        return Path(folder)

    return run


def results_of(folder: Path) -> list[dict[str, Any]]:
    """Return the results of the only trial, as Ray has written them."""
    (path,) = folder.glob("*/result.json")
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("name", NAMES)
def test_the_head_says_how_many_lines_are_new_and_gone(name: str) -> None:
    text = text_of(name)
    new = sum(bool(NEW.search(line)) for line in text.splitlines())
    gone = sum(bool(GONE.search(line)) for line in text.splitlines())
    told = re.search(r"(\d) lines are new \(`# \+`\) and (\d) are gone \(`# -`\)", text)
    assert told is not None
    assert (new, gone) == (int(told[1]), int(told[2]))
    assert new <= MOST_NEW
    plain = without_gap_tune(text)
    code = plain.partition('"""\n\n')[2]
    assert "gap_tune" not in code
    assert "momentum" in code or "beta1" in code
    assert len(text.splitlines()) < 130


def test_the_files_that_are_made_up_are_of_the_format(files: Path) -> None:
    images = read_idx(files / "train-images-idx3-ubyte.gz", 3)
    assert images.shape == (256, 28, 28)
    assert len(read_idx(files / "t10k-labels-idx1-ubyte.gz", 1)) == 64


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_tutorial_tunes_the_momentum_as_the_scheduler_decides(
    name: str, ray_address: str, run: Run
) -> None:
    folder = run(text_of(name))
    rows, decisions = results_of(folder), read_decisions(folder)
    assert {row["gap/mode"] for row in rows} == {"scheduler"}
    assert nested.get(rows[0]["config"], MOMENTUM.get(name, "momentum")) == 0.9
    assert len(rows) >= 2
    # A result that ends the trial leaves nothing to decide, but a function ends by itself.
    assert len(rows) - len(decisions) in (0, 1)
    # What was decided on a result trained until the next.
    used = [0.9, *(each.new for each in decisions)]
    assert [row["gap/momentum"] for row in rows] == used[: len(rows)]


# The others' were run when they were written: each costs as much as the tutorial itself.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["lightning_module", "pytorch_function"])
def test_without_the_new_lines_it_is_a_tutorial_for_ray_alone(
    name: str, ray_address: str, run: Run
) -> None:
    rows = results_of(run(without_gap_tune(text_of(name))))
    assert len(rows) >= 2
    assert not any(key.startswith("gap/") for key in rows[0])
