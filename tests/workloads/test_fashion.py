"""Fashion-MNIST from files in idx format: read, shrunk, cut short, and refused where damaged."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gap_tune.errors import InvalidValueError
from gap_tune.workloads import get_workload
from gap_tune.workloads.base import Splits
from gap_tune.workloads.vision.fashion import FOLDER
from gap_tune.workloads.vision.idx import read_idx
from tests.workloads.data import idx, write_fashion


def read(folder: Path, **options: Any) -> Splits:
    return get_workload(
        "fashion-mnist", {"folder": str(folder), "validation_images": 8, **options}
    ).data()


def rows(samples: Any) -> set[tuple[int, ...]]:
    return {tuple(image.flatten().tolist()) for image in samples.tensors[0]}


@pytest.mark.parametrize("shape", [(5,), (3, 2), (2, 28, 28), (0, 4)])
@pytest.mark.parametrize("packed", [False, True])
def test_idx_files_are_read_compressed_or_not(
    shape: tuple[int, ...], packed: bool, tmp_path: Path
) -> None:
    array = np.random.default_rng(1).integers(256, size=shape, dtype=np.uint8)
    path = tmp_path / ("x.gz" if packed else "x")
    path.write_bytes(gzip.compress(idx(array)) if packed else idx(array))
    assert np.array_equal(read_idx(path, len(shape)), array)


def test_splits_are_all_images_once_and_their_own_labels(tmp_path: Path) -> None:
    write_fashion(tmp_path / "x")
    splits = read(tmp_path / "x")
    assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [16, 8, 6]
    images = read_idx(tmp_path / "x" / "train-images-idx3-ubyte.gz", 3)
    labels = read_idx(tmp_path / "x" / "train-labels-idx1-ubyte.gz", 1)
    told = {tuple(i.flatten().tolist()): int(k) for i, k in zip(images, labels, strict=True)}
    found = {}
    for samples in (splits.train, splits.validation):
        for image, label in samples:  # type: ignore[attr-defined]
            assert (image.shape, image.dtype) == ((1, 28, 28), torch.uint8)
            found[tuple(image.flatten().tolist())] = int(label)
    assert found == told


def test_fewer_images_are_the_first_of_more_and_validation_stays(tmp_path: Path) -> None:
    write_fashion(tmp_path / "x")
    whole, part = read(tmp_path / "x"), read(tmp_path / "x", train_images=5, test_images=2)
    assert (len(part.train), len(part.test)) == (5, 2)
    assert rows(part.train) < rows(whole.train)
    assert rows(part.validation) == rows(whole.validation)


def test_images_are_shrunk_to_the_means_of_squares(tmp_path: Path) -> None:
    write_fashion(tmp_path / "x")
    whole, small = read(tmp_path / "x"), read(tmp_path / "x", pixels=7)
    images, shrunk = (splits.test.tensors[0] for splits in (whole, small))  # type: ignore[attr-defined]
    means = images.double().reshape(-1, 1, 7, 4, 7, 4).mean((3, 5))
    assert (shrunk.double() - means).abs().max() <= 0.5
    for network in ("mlp", "cnn"):
        for pixels in (7, 14, 28):
            for batch_norm in (False, True):
                task = get_workload(
                    "fashion-mnist",
                    {"network": network, "pixels": pixels, "batch_norm": batch_norm, "width": 4},
                )
                model = task.model()
                outputs = model(torch.zeros(3, 1, pixels, pixels, dtype=torch.uint8))
                assert outputs.shape == (3, 10)
                assert batch_norm == any("running_mean" in name for name in model.state_dict())


def test_label_noise_is_in_training_alone(tmp_path: Path) -> None:
    write_fashion(tmp_path / "x")
    clean, noisy = read(tmp_path / "x"), read(tmp_path / "x", label_noise=1.0)
    same = [
        torch.equal(getattr(clean, split).tensors[1], getattr(noisy, split).tensors[1])
        for split in ("train", "validation", "test")
    ]
    assert same == [False, True, True]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda x: None, "folder must hold train-labels-idx1-ubyte or "),
        (lambda x: b"not gzip", "must be a file that can be read, but got: Not a gzipped"),
        (lambda x: x[:-20], "must be a file that can be read, but got: "),
        (lambda x: gzip.compress(b"#!/bin/sh\nexit 0"), "must be an idx file of bytes in 1"),
        (
            lambda x: gzip.compress(gzip.decompress(x)[:20]),
            "must hold 24 bytes after its head, but",
        ),
        (lambda x: gzip.compress(gzip.decompress(x)[:6]), "must be an idx file of bytes in 1"),
        (lambda x: gzip.compress(idx(np.zeros(23, np.uint8))), "one for each of 23 labels, but"),
    ],
)
def test_damaged_and_missing_files_are_told(
    tmp_path: Path, damage: Callable[[bytes], bytes | None], complaint: str
) -> None:
    write_fashion(tmp_path / "x")
    file = tmp_path / "x" / "train-labels-idx1-ubyte.gz"
    left = damage(file.read_bytes())
    file.unlink()
    if left is not None:
        file.write_bytes(left)
    with pytest.raises(InvalidValueError) as raised:
        read(tmp_path / "x")
    assert complaint in str(raised.value)
    assert "\n" not in str(raised.value)


def test_no_more_images_can_validate_than_there_are(tmp_path: Path) -> None:
    write_fashion(tmp_path / "x")
    with pytest.raises(InvalidValueError, match=r"in 1 \.\. 23, but got 24"):
        read(tmp_path / "x", validation_images=24)


@pytest.mark.skipif(
    not FOLDER.is_dir() and not os.environ.get("GAP_TUNE_REQUIRE_PROGRAMS"),
    reason="needs Debian's package dataset-fashion-mnist",
)
def test_the_packaged_files_are_found_where_they_are() -> None:
    splits = get_workload("fashion-mnist").data()
    assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [
        55_000,
        5_000,
        10_000,
    ]
    pixels = splits.train.tensors[0].float() / 255  # type: ignore[attr-defined]
    assert pixels.mean().item() == pytest.approx(0.2860, abs=2e-3)
    assert pixels.std().item() == pytest.approx(0.3530, abs=2e-3)
