"""Results of somebody else: read without running anything, and from nowhere but their folder."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from gap_tune.errors import StateError
from gap_tune.files import leads_out, parsed_json
from gap_tune.records import studies
from gap_tune.records.experiments import read_experiment
from gap_tune.report.tables import write_csv
from gap_tune.tune.trial import checkpointing
from tests.security.results import write_trial

SECRET = "aws_secret_access_key = hunter2"


class Trap:
    """What runs code where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def read(folder: Path) -> Any:
    return read_experiment(folder, metric="loss", mode="min")


@pytest.mark.parametrize("save", [torch.save, lambda what, path: path.write_bytes(what)])
def test_a_checkpoint_runs_no_code(tmp_path: Path, save: Callable[[Any, Path], None]) -> None:
    mark = tmp_path / "ran"
    trap = {"version": 2, "objects": {}, "optimizer": Trap(mark)}
    save(trap if save is torch.save else pickle.dumps(trap), tmp_path / checkpointing.FILE)
    with pytest.raises(StateError, match="of types that this process knows"):
        checkpointing.read(tmp_path, {})
    assert not mark.exists()
    # The same file, read as pickles usually are, would have run it.
    torch.load(tmp_path / checkpointing.FILE, weights_only=False) if save is torch.save else (
        pickle.loads((tmp_path / checkpointing.FILE).read_bytes())
    )
    assert mark.exists()


def test_what_ray_has_pickled_is_read_without_running_it(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    folder = tmp_path / "experiment"
    write_trial(folder, "a")
    saved = pickle.dumps({"metric": "loss", "mode": "min", "trap": Trap(mark)})
    (folder / "tuner.pkl").write_bytes(saved)
    (folder / "search_gen_state-1.json").write_bytes(saved)
    (folder / "experiment_state-1.json").write_text(
        json.dumps({"trial_data": [], "runner_data": {"_stopper": {"value": saved.hex()}}})
    )
    assert read_experiment(folder).metric == "loss"
    assert not mark.exists()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "credentials"
    path.parent.mkdir()
    path.write_text(SECRET)
    return path


def test_bug_a_link_in_results_shows_a_file_of_the_reader(tmp_path: Path, secret: Path) -> None:
    folder = tmp_path / "experiment"
    trial = write_trial(folder, "a")
    (trial / "error.txt").symlink_to(secret)
    state = {"trial_id": "a", "status": "ERROR", "relative_logdir": trial.name}
    (folder / "experiment_state-1.json").write_text(
        json.dumps({"trial_data": [[json.dumps(state), "{}"]]})
    )
    records = read(folder)
    assert "hunter2" not in records.trials.to_csv()
    # A file of the experiment's own is shown, be it a link or not.
    (folder / "why").write_text("out of memory")
    (trial / "error.txt").unlink()
    (trial / "error.txt").symlink_to(folder / "why")
    assert "out of memory" in read(folder).trials.to_csv()


def test_bug_a_linked_trial_is_read_from_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    write_trial(folder, "a")
    others = write_trial(tmp_path / "others", "b", loss=0.123)
    (folder / "train_b_1").symlink_to(others)
    (folder / "train_c_1").mkdir()
    (folder / "train_c_1" / "params.json").write_text("{}")
    (folder / "train_c_1" / "result.json").symlink_to(others / "result.json")
    records = read(folder)
    assert 0.123 not in set(records.results["loss"])
    assert set(records.results["trial_id"]) == {"a"}


@pytest.mark.parametrize("name", ["tuner.pkl", "decisions.jsonl", "experiment_state-1.json"])
def test_bug_a_linked_file_of_an_experiment_is_read_from_elsewhere(
    tmp_path: Path, secret: Path, name: str
) -> None:
    folder = tmp_path / "experiment"
    write_trial(folder, "a")
    (folder / name).symlink_to(secret)
    with pytest.raises(StateError, match=f"must hold its own files, but {name} is a link"):
        read(folder)


def test_a_folder_that_is_a_link_itself_is_read(tmp_path: Path) -> None:
    write_trial(tmp_path / "there", "a")
    (tmp_path / "here").symlink_to(tmp_path / "there")
    assert len(read(tmp_path / "here").trials) == 1
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert leads_out(tmp_path / "round", tmp_path) in (True, False)


@pytest.mark.parametrize("away", ["../../../elsewhere", "{elsewhere}"])
def test_bug_a_study_names_runs_outside_of_it(tmp_path: Path, away: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    write_trial(elsewhere, "a")
    own = {"folder": away.format(elsewhere=elsewhere), "arm": "asha", "seed": 0}
    study = {"metric": "loss", "mode": "min", "arms": ["asha"], "seeds": 1, "runs": [own]}
    folder = tmp_path / "studies" / "mine" / studies.EXPERIMENT
    folder.mkdir(parents=True)
    (folder / studies.STUDY_FILE).write_text(json.dumps(study))
    with pytest.raises(StateError, match="must name runs that lie in runs"):
        studies.read_records(folder)


DEEP = "[" * 100_000


@pytest.mark.parametrize("text", [DEEP, '{"a":' * 50_000, "", "nonsense", "[1"])
def test_no_text_is_json_that_ends_in_anything_but_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        parsed_json(text)
    assert len(str(raised.value)) < 200


def test_bug_deep_json_ends_the_report_with_a_recursion_error(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    trial = write_trial(folder, "a")
    (folder / "experiment_state-1.json").write_text(DEEP)
    other = write_trial(folder, "b")
    (other / "params.json").write_text(DEEP)
    with (trial / "result.json").open("a") as file:
        file.write(DEEP + "\n")
    assert set(read(folder).trials["trial_id"]) == {"a"}
    (folder / studies.STUDY_FILE).write_text(DEEP)
    with pytest.raises(StateError, match="nests too deeply"):
        studies.read_records(folder)


@pytest.mark.parametrize(
    "line",
    ["[]", "7", '"text"', "{}", '{"trial_id": 3, "training_iteration": 1}', '{"trial_id": "a"}',
     '{"trial_id": "a", "training_iteration": "x"}', '{"trial_id": "a", "training_iteration": []}'],
)  # fmt: skip
def test_bug_a_line_that_is_no_report_ends_the_report(tmp_path: Path, line: str) -> None:
    trial = write_trial(tmp_path, "a")
    with (trial / "result.json").open("a") as file:
        file.write(line + "\n")
    assert len(read(tmp_path).results) == 1


def test_bug_a_configuration_that_is_no_mapping_ends_the_report(tmp_path: Path) -> None:
    write_trial(tmp_path, "a")
    (write_trial(tmp_path, "b") / "params.json").write_text("[]")
    assert set(read(tmp_path).trials["trial_id"]) == {"a"}


def test_bug_whole_numbers_beyond_floats_end_the_report(tmp_path: Path) -> None:
    folder = tmp_path / "experiment"
    row = {"training_iteration": 2, "trial_id": "a", "gap/momentum": 0.9}
    trial = write_trial(folder, "a")
    with (trial / "result.json").open("a") as file:
        file.write(json.dumps(row)[:-1] + f', "loss": {10**400}, "gap/steps": {10**400}}}\n')
    records = read(folder)
    assert records.results["loss"].tolist() == [1.0, float("inf")]
    write_csv(records, tmp_path)


FORMULAS = ['=HYPERLINK("http://x")', "+1", "-1+1", "@SUM(1)", "\t=1"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_bug_a_spreadsheet_takes_names_and_errors_for_formulas(
    tmp_path: Path, formula: str
) -> None:
    folder = tmp_path / "experiment"
    trial = write_trial(folder, "a", error=formula, **{formula: 2.0})
    state = {"trial_id": "a", "status": "ERROR", "relative_logdir": trial.name}
    (folder / "experiment_state-1.json").write_text(
        json.dumps({"trial_data": [[json.dumps(state), "{}"]]})
    )
    for path in write_csv(read(folder), tmp_path):
        table = pd.read_csv(path, header=None, dtype=str).fillna("")
        texts = [cell for row in table.to_numpy().tolist() for cell in row]
        # Numbers stay numbers, whatever their sign.
        bad = [t for t in texts if t.startswith(("=", "+", "-", "@", "\t")) and not _number(t)]
        assert bad == []
    assert f"'{formula.strip()}" in (tmp_path / "trials.csv").read_text().replace('""', '"')


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text not in ("+1",)
