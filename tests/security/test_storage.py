"""Object storage of somebody else: whose keys can name any place of the machine that reads them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from pyarrow.fs import FileInfo, FileType

from gap_tune.study.remote_store import RemoteStore, open_store

ROOT = "bucket/studies/mine"
AWAY = [
    "../../../away/study.json",
    "/away/study.json",
    "a/../../../away/result.json",
    "../study.json",
]


class Bucket:
    """What answers as ``pyarrow.fs`` does, with keys that S3 allows and its clients tidy up."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = [f"{ROOT}/{key}" for key in keys]
        self.read: list[str] = []

    def get_file_info(self, selector: object) -> list[FileInfo]:
        return [FileInfo(key, type=FileType.File, size=1, mtime_ns=1) for key in self.keys]

    def open_input_stream(self, key: str) -> object:
        self.read.append(key)
        return io.BytesIO(b"{}")


@pytest.mark.parametrize("key", AWAY)
def test_bug_keys_of_objects_write_files_outside_of_the_copy(key: str, tmp_path: Path) -> None:
    store = open_store(f"s3://{ROOT}?region=us-east-1")
    assert isinstance(store, RemoteStore)
    store.filesystem = bucket = Bucket([key, "experiment/study.json"])
    store.pull()
    assert bucket.read == [f"{ROOT}/experiment/study.json"]
    found = [path for path in store.folder.parent.rglob("*") if path.is_file()]
    assert found == [store.folder / "experiment" / "study.json"]
