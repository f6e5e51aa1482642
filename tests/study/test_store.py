"""Where a study is kept: a folder, or object storage with a local copy of what records read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.fs
import pytest

from gap_tune.errors import InvalidValueError, StateError, StorageError
from gap_tune.study import Study
from gap_tune.study.remote_store import open_store, without_secrets
from gap_tune.study.store import Store
from tests.object_storage import CREDENTIALS, filesystem, serving, uri


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with serving() as where:
        filesystem(where).create_dir("bucket")
        yield where


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Store:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    return open_store(uri(endpoint, f"bucket/{request.node.name}/study"))


def write(s3: Any, path: str, content: bytes = b"x") -> None:
    with s3.open_output_stream(path) as stream:
        stream.write(content)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_used_as_it_is(tmp_path: Path) -> None:
    store = open_store(tmp_path / "study")
    store.check_writable()
    assert store.folder == tmp_path / "study"
    assert store.name == "study"
    assert store.filesystem is None
    assert store.path(store.folder / "runs") == str(tmp_path / "study" / "runs")
    assert store.shown(store.folder / "a.csv") == str(tmp_path / "study" / "a.csv")
    assert not list(store.folder.iterdir())


def test_what_records_read_is_copied_and_checkpoints_are_not(store: Store, endpoint: str) -> None:
    s3, root = filesystem(endpoint), store.path(store.folder)
    for name in ("experiment/t1/result.json", "experiment/study.json"):
        write(s3, f"{root}/{name}")
    write(s3, f"{root}/experiment/t1/checkpoint_000001/gap_tune.pt")
    write(s3, f"{root}/ranks/ranks-t1/checkpoint_1/weights.pt")
    store.pull()
    assert names(store.folder) == {"experiment/t1/result.json", "experiment/study.json"}
    write(s3, f"{root}/experiment/study.json", b"newer")
    store.pull(store.folder / "experiment")
    assert (store.folder / "experiment" / "study.json").read_bytes() == b"newer"


def test_what_is_pushed_is_found_by_another_machine(store: Store) -> None:
    store.check_writable()
    page = store.folder / "report.html"
    page.write_text("page")
    figures = store.folder / "figures"
    figures.mkdir()
    (figures / "one.svg").write_text("one")
    store.push(page)
    store.push(figures)
    assert stored(store) == {"report.html", "figures/one.svg"}


def stored(store: Store) -> set[str]:
    root = store.path(store.folder)
    selector = pyarrow.fs.FileSelector(root, recursive=True)
    found = [info.path for info in store.filesystem.get_file_info(selector) if info.is_file]
    return {path.removeprefix(f"{root}/") for path in found}


def test_a_run_that_is_set_aside_takes_its_checkpoints_along_and_leaves_the_studys_file(
    store: Store, endpoint: str
) -> None:
    s3, root = filesystem(endpoint), store.path(store.folder)
    trial = ("t1/result.json", "t1/checkpoint_000001/gap_tune.pt")
    for name in (*trial, "study.json"):
        write(s3, f"{root}/experiment/{name}")
    store.pull()
    store.set_aside(store.folder / "experiment", store.folder / "aside", keep="study.json")
    assert stored(store) == {"experiment/study.json", *(f"aside/{name}" for name in trial)}
    assert names(store.folder) == {"experiment/study.json", "aside/t1/result.json"}


def test_users_see_the_place_without_its_options(store: Store) -> None:
    shown = store.shown(store.folder / "report.html")
    assert shown.startswith("s3://bucket/test_users_see")
    assert shown.endswith("/study/report.html")
    with pytest.raises(StateError) as raised:
        Study.restore(store.place)
    assert str(raised.value).startswith(
        f"{store.shown(store.folder)} must be the folder of a gap_tune study"
    )


def test_keys_in_a_uri_are_shown_to_nobody() -> None:
    store = open_store("s3://key:secret@bucket/study?region=us-east-1")
    assert store.shown(store.folder / "report.html") == "s3://bucket/study/report.html"
    with pytest.raises(InvalidValueError) as raised:
        open_store("nowhere://key:secret@bucket/study")
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # Secrets of AWS often hold slashes.
        ("got s3://AKIA:ab/cd+e@bucket/x: no", "got s3://bucket/x: no"),
        ("s3://bucket/x?secret_key=S&region=r", "s3://bucket/x?secret_key=***&region=r"),
        ("abfs://c@a.windows.net/x?account_key=S", "abfs://c@a.windows.net/x?account_key=***"),
        ("abfss://container@account.windows.net/x", "abfss://container@account.windows.net/x"),
    ],
)
def test_secrets_are_left_out_and_nothing_else(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_storage_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    # Nobody listens there.
    store = open_store(uri("127.0.0.1:9", "bucket/study"))
    with pytest.raises(StorageError) as raised:
        store.pull()
    assert str(raised.value).startswith("storage must be one that can be read and written, but got")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("place", ["nowhere://bucket/x", "s3://", "s3:///x"])
def test_a_uri_that_names_no_place_is_refused(place: str) -> None:
    with pytest.raises(InvalidValueError, match="must be a folder or a URI such as s3://"):
        open_store(place)


def test_a_bucket_that_is_not_there_is_refused_before_anything_runs(
    store: Store, endpoint: str
) -> None:
    with pytest.raises(StorageError, match="got s3://elsewhere/study: "):
        open_store(uri(endpoint, "elsewhere/study")).check_writable()
