"""A folder of recorded runs: ``runs.parquet`` and ``tables.json``, which says what it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gap_tune.errors import StateError
from gap_tune.files import write_text, write_whole
from gap_tune.simulation.recorded.recordings import COUNTED, FLOATS, ArmFacts, Recordings

TABLE_FILE = "runs.parquet"
NOTE_FILE = "tables.json"
VERSION = 1
_KEYS = ("setting", "arm", "rate", "seed", "moment")
# Few different values, in long stretches.
_REPEATED = ("setting", "arm", "momentum", "weight")
_LEVEL = 19


def write_tables(
    folder: Path, settings: Sequence[Recordings], about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write recordings into a folder, and return the note.

    The note goes last: until then a reader finds the old one, and that the table is another.

    Args:
        folder: Where to.
        settings: The recordings, each a group of rows.
        about: What else the note is to say.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    table = _packed(settings)
    note = {
        "version": VERSION,
        "file": TABLE_FILE,
        "sha256": hashlib.sha256(table).hexdigest(),
        "rows": sum(int(np.prod(each.shape)) for each in settings),
        **about,
        "settings": [_described(each) for each in settings],
    }
    write_whole(folder / TABLE_FILE, table)
    write_text(folder / NOTE_FILE, json.dumps(note, indent=1) + "\n")
    return note


def _packed(settings: Sequence[Recordings]) -> bytes:
    tables = [_table(each) for each in settings]
    split = [name for name in FLOATS if name not in _REPEATED]
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        tables[0].schema,
        compression="zstd",
        compression_level=_LEVEL,
        use_dictionary=[*_REPEATED, "rate", "seed", "moment", *COUNTED],
        column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
        write_statistics=False,
    ) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=len(table))
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _table(recordings: Recordings) -> Any:
    """Return the rows of a setting, moments innermost."""
    arms = np.array(list(recordings.arms))
    places = [axis.ravel() for axis in np.indices(recordings.shape, dtype=np.int8)]
    keys = {
        "setting": pa.array(np.full(places[0].size, recordings.name)),
        "arm": pa.array(arms[places[0]]),
        **{name: pa.array(axis) for name, axis in zip(_KEYS[2:], places[1:], strict=True)},
    }
    columns = {name: pa.array(recordings.columns[name].ravel()) for name in (*FLOATS, *COUNTED)}
    return pa.table({**keys, **columns})


def _described(recordings: Recordings) -> dict[str, Any]:
    return {
        "name": recordings.name,
        "family": recordings.family,
        "arms": {name: asdict(facts) for name, facts in recordings.arms.items()},
        "learning_rates": list(recordings.learning_rates),
        "steps": list(recordings.steps),
        "dimension": recordings.dimension,
        "sampled": recordings.sampled,
        "initial_validation": list(recordings.initial_validation),
        "initial_test": list(recordings.initial_test),
    }


class Tables:
    """A folder that ``write_tables`` wrote; settings are read when they are asked for.

    Args:
        folder: Where it is.

    Attributes:
        note: What the note says.

    Raises:
        StateError: When there is none, or it is of another version or not whole.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.note = _read_note(folder / NOTE_FILE)
        self._content = _read_table(folder / TABLE_FILE, self.note["sha256"])

    @cached_property
    def _file(self) -> Any:
        return pq.ParquetFile(pa.BufferReader(self._content))

    @property
    def names(self) -> list[str]:
        """The settings."""
        return [each["name"] for each in self.note["settings"]]

    def read(self, name: str) -> Recordings:
        """Return the recordings of a setting.

        Raises:
            StateError: When the table lacks a column, or holds other rows than the note says.
        """
        place = self.names.index(name)
        facts = self.note["settings"][place]
        wanted = (*FLOATS, *COUNTED)
        if missing := sorted({*_KEYS, *wanted} - set(self._file.schema_arrow.names)):
            raise self._unfit(f"lacks the columns {missing}")
        if place >= self._file.num_row_groups:
            raise self._unfit(f"has no rows of {name!r}")
        rows = self._file.read_row_group(place, columns=["setting", *wanted])
        recordings = _recordings(facts, rows)
        if recordings is None or rows["setting"].unique().to_pylist() != [name]:
            raise self._unfit(f"has other rows of {name!r}")
        return recordings

    def _unfit(self, what: str) -> StateError:
        return StateError(
            f"{self._folder / TABLE_FILE} must hold what {NOTE_FILE} beside it says, "
            f"but got one that {what}."
        )


def _recordings(facts: Mapping[str, Any], rows: Any) -> Recordings | None:
    """Return the recordings of rows; None where their number is not what the facts say."""
    recordings = Recordings(
        name=facts["name"],
        family=facts["family"],
        arms={
            name: ArmFacts(**{**own, "candidates": tuple(own["candidates"])})
            for name, own in facts["arms"].items()
        },
        learning_rates=tuple(facts["learning_rates"]),
        steps=tuple(facts["steps"]),
        dimension=facts["dimension"],
        sampled=facts["sampled"],
        initial_validation=tuple(facts["initial_validation"]),
        initial_test=tuple(facts["initial_test"]),
        columns={},
    )
    if len(rows) != np.prod(recordings.shape):
        return None
    for name in (*FLOATS, *COUNTED):
        values: NDArray[Any] = rows[name].to_numpy()
        recordings.columns[name] = values.reshape(recordings.shape)  # type: ignore[index]
    return recordings


def _read_note(path: Path) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads(path.read_text())
        version = note["version"]
        if version == VERSION:
            [setting["name"] for setting in note["settings"]], note["sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} must be the note of recorded runs, but got: {error!r}.") from None
    if version != VERSION:
        raise StateError(
            f"recorded runs must be of version {VERSION}, but got {version!r} in {path}: take the "
            "gap_tune that packed them, or pack them anew."
        )
    return note


def _read_table(path: Path, checksum: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise StateError(f"{path} must be readable, but got: {error.strerror or error}.") from None
    if hashlib.sha256(content).hexdigest() != checksum:
        raise StateError(
            f"{path} must have the checksum that {NOTE_FILE} beside it says, but got another: it "
            "was changed or cut off, so pack or install it anew."
        )
    return content
