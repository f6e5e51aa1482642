"""Bad input ends in one line that names what to do."""

from __future__ import annotations

import gzip
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gap_tune.errors import GapTuneError, InvalidValueError, UnsupportedError
from gap_tune.training.placement import find_device
from gap_tune.training.prepared import prepare
from gap_tune.workloads import get_workload
from gap_tune.workloads.base import Splits
from tests.workloads.data import Case, cases, dump, pixels, vit_options, write_cifar10


def complaint(name: str, options: dict[str, Any], use: Callable[[Any], Any]) -> str:
    with pytest.raises(GapTuneError) as caught:
        use(get_workload(name, options))
    text = str(caught.value)
    assert "\n" not in text
    assert "but got" in text
    return text


def load(task: Any) -> Splits:
    splits: Splits = task.data()
    return splits


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("cifar10", {}, "folder must be a folder with torchvision's cifar-10-batches-py"),
        ("cifar100", {"folder": "nowhere"}, "cifar-100-python in it, but got 'nowhere'"),
        ("cifar10", {"download": True}, "folder must say where downloaded data go"),
        ("vit", {"folder": "nowhere"}, "images in train/<class>/ and val/<class>/"),
        ("vit", {"folder": "nowhere", "dataset": "pets"}, "torchvision's OxfordIIITPet in it"),
        ("vit", {"image_size": 100}, "a multiple of the patch size, 16, but got 100"),
        ("vit", {"dataset": "mnist"}, "dataset must be one of"),
        ("vit", {"architecture": {"depth": 2}}, "architecture must have keys of"),
        ("characters", {}, "files must name at least one text file"),
        ("characters", {"files": ["nowhere.txt"]}, "that can be read, but got nowhere.txt"),
        ("characters", {"heads": 3, "width": 8}, "heads must divide width, 8, but got 3"),
        ("language", {"template": "no"}, "template must hold"),
        ("logistic", {"table": "iris"}, "table must be one of"),
        ("regression", {"table": "iris"}, "table must be one of ['diabetes', 'teacher']"),
        ("regression", {"width": -1}, "width must be an integer of at least 0, but got -1"),
        ("digits-attention", {"heads": 3}, "heads must divide width, 16, but got 3"),
        ("digits-tanh", {"depth": 0}, "depth must be an integer of at least 1"),
        ("fashion-mnist", {"folder": "nowhere"}, "Fashion-MNIST's files in idx format"),
        ("fashion-mnist", {"pixels": 10}, "pixels must be one of (28, 14, 7), but got 10"),
        ("fashion-mnist", {"network": "vit"}, "network must be one of ('mlp', 'cnn')"),
        ("quadratic", {"condition": 0.5}, "condition must be a number in [1, inf)"),
        ("digits-cnn", {"label_noise": 2}, "label_noise must be a number in [0, 1]"),
        ("digits-cnn", {"noise": 0.1}, "among ['label_noise'], but got ['noise']"),
    ],
)
def test_wrong_options_and_missing_folders(
    name: str, options: dict[str, Any], expected: str
) -> None:
    assert expected in complaint(name, options, load)


def test_damaged_or_forged_cifar_files(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    options = {"folder": str(tmp_path)}
    # Ours are not the original files.
    assert "as torchvision writes it: unpack https" in complaint("cifar10", options, load)
    options |= {"check_md5": False}
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(batch.read_bytes()[:1000])
    assert "set download" in complaint("cifar10", options, load)
    batch.unlink()
    assert "not found or corrupted" in complaint("cifar10", options, load)


def test_too_many_validation_images(tmp_path: Path) -> None:
    write_cifar10(tmp_path)
    options = {"folder": str(tmp_path), "check_md5": False}
    assert "in 1 .. 19, but got 5000" in complaint("cifar10", options, load)


class TestImages:
    @pytest.fixture
    def folder(self, root: Path, tmp_path: Path) -> Path:
        return Path(shutil.copytree(root / "images", tmp_path / "images"))

    def test_a_damaged_image_is_named(self, folder: Path) -> None:
        for content in (b"", b"no image", (folder / "train" / "cat" / "1.jpg").read_bytes()[:300]):
            (folder / "train" / "cat" / "0.jpg").write_bytes(content)
            text = complaint("vit", vit_options(folder), lambda task: task.data().train[0])
            assert "replace or delete this one" in text
            assert "train/cat/0.jpg" in text

    def test_a_split_without_classes_or_with_others(self, folder: Path) -> None:
        (folder / "val" / "dog").rename(folder / "val" / "wolf")
        text = complaint("vit", vit_options(folder), load)
        assert "val/ must have the classes of train/" in text
        shutil.rmtree(folder / "val")
        (folder / "val").mkdir()
        assert "one subfolder per class" in complaint("vit", vit_options(folder), load)

    def test_a_torchvision_dataset_that_is_not_there(self, folder: Path) -> None:
        options = {**vit_options(folder), "dataset": "pets"}
        assert "set download, or copy it" in complaint("vit", options, load)

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (None, "or a file with a state dict"),
            (b"no weights", "or a file with a state dict"),
            ({"weight": torch.zeros(2)}, "weights must belong to a ViT of architecture"),
            ([1, 2], "or a file with a state dict"),
        ],
    )
    def test_weights_that_are_none(
        self, folder: Path, tmp_path: Path, content: Any, expected: str
    ) -> None:
        path = tmp_path / "weights.pt"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            torch.save(content, path)
        options = {**vit_options(folder), "weights": str(path)}
        assert expected in complaint("vit", options, lambda task: task.model())


class TestLanguage:
    def changed(self, root: Path, **options: Any) -> dict[str, Any]:
        return {**cases(root)["language"].options, **options}

    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (b"", "at least one line"),
            (b"\n\n", "at least one line"),
            (b'{"query": "a"}\n', "but got ['query'] in line 1"),
            (b'{"query": "a", "response": "b"}\nno json\n', "got line 2 of"),
            (b'{"query": "a", "response": 3}\n', "in line 1"),
            (b"[1]", "got int in entry 1"),
            (gzip.compress(b"x", mtime=0), "JSONL in UTF-8"),
            (b'{"query": "a", "response": "b"}\n', "for train, validation and test"),
        ],
    )
    def test_a_file_that_holds_no_questions(
        self, root: Path, tmp_path: Path, content: bytes, expected: str
    ) -> None:
        path = tmp_path / "file.jsonl"
        path.write_bytes(content)
        assert expected in complaint("language", self.changed(root, file=str(path)), load)

    def test_what_is_not_there_and_cannot_be_downloaded(
        self, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # Without network the hub's client tries for half a minute.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        for options, what in (
            ({"tokenizer": str(tmp_path)}, "tokenizer must be a local path or a name on the"),
            ({"tokenizer": "nobody/nothing"}, "run `hf download` elsewhere"),
            ({"file": "nobody/nothing/file.json"}, "file must be a local path or a name on the"),
            ({"file": "nowhere.jsonl"}, "file on the Hugging Face hub, but got 'nowhere.jsonl'"),
        ):
            assert what in complaint("language", self.changed(root, **options), load)
        options = self.changed(root, architecture=None, model=str(tmp_path))
        text = complaint("language", options, lambda task: task.model())
        assert text.startswith("model must be a local path")

    def test_questions_longer_than_allowed(self, root: Path) -> None:
        text = complaint("language", self.changed(root, longest=2), load)
        assert "longest must leave room for an answer" in text

    def test_an_adapter_without_peft(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "peft", None)
        options = self.changed(root, lora={"r": 2})
        text = complaint("language", options, lambda task: task.model())
        assert "pip install 'gap-tune[language]'" in text


def test_missing_libraries_are_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert "gap-tune[vision]" in complaint("cifar10", cases(root)["cifar10"].options, load)
    assert "gap-tune[vision]" in complaint("vit", cases(root)["vit"].options, load)
    assert "gap-tune[language]" in complaint("language", cases(root)["language"].options, load)


def test_text_that_is_none_or_too_short(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(b"\xff\xfe\x00")
    assert "text in UTF-8" in complaint("characters", {"files": str(path)}, load)
    path.write_text("short")
    assert "but got 5: give more text" in complaint("characters", {"files": [str(path)]}, load)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here")
def test_a_gpu_where_none_is() -> None:
    with pytest.raises(InvalidValueError, match="install torch with CUDA and check nvidia-smi"):
        find_device("cuda")
    assert find_device() == find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"batch_size": 10_000}, "at most the number of training samples, 106, but got 10000"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1"),
        ({"accumulate": 3}, "accumulate must divide batch_size, 32, but got 3"),
        ({"amp": "fp8"}, "amp must be one of"),
        ({"schedule": "linear"}, "schedule must be one of"),
        ({"device": "tpu"}, "device must be one of"),
        ({"clip": -1}, "clip must be a number in"),
        ({"workers": -1}, "workers must be an integer of at least 0"),
        ({"validation_every": 0}, "validation_every must be an integer"),
        ({"held_out_share": 1.0}, "held_out_share must be a number in (0, 1)"),
        ({"warmup_epochs": -1}, "warmup_epochs must be a number in"),
        ({"checkpoints_per_epoch": 0}, "checkpoints_per_epoch must be an integer"),
        ({"family": "adagrad"}, "family must be one of"),
    ],
)
def test_wrong_settings(changes: dict[str, Any], expected: str) -> None:
    config = Case("logistic", {"table": "wine"}, 32).config(**changes)
    with pytest.raises(InvalidValueError) as caught:
        prepare(config)
    assert expected in str(caught.value)


class TestOwnWorkload:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("nowhere:Class", "No module named 'nowhere'"),
            ("json:Class", "no attribute 'Class'"),
            (":Class", "must name a class that can be imported"),
            (f"{__name__}:Half", "but got one without data, metrics"),
            ("gap_tune.workloads:Workload", "but got one without model, data, loss, metrics"),
            ("math:pi", "model, data, loss, metrics"),
        ],
    )
    def test_a_class_that_is_none_or_lacks_a_method(self, name: str, expected: str) -> None:
        with pytest.raises(UnsupportedError) as caught:
            get_workload(name)
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_name_that_nobody_has(self) -> None:
        with pytest.raises(InvalidValueError, match=r"workload must be one of .*entry point"):
            get_workload("imagenet")


class Half:
    def model(self) -> None: ...

    def loss(self, outputs: Any, targets: Any) -> None: ...


def test_a_file_that_is_replaced_is_read_anew_and_one_that_failed_leaves_nothing(
    tmp_path: Path,
) -> None:
    write_cifar10(tmp_path)
    options = {"folder": str(tmp_path), "check_md5": False, "validation_images": 4}
    assert get_workload("cifar10", options).data().test.tensors[1].tolist() == [0, 1, 2, 9]  # type: ignore[attr-defined]
    batch = tmp_path / "cifar-10-batches-py" / "test_batch"
    batch.write_bytes(b"damaged")
    complaint("cifar10", options, load)
    dump(batch, {"data": pixels(2), "labels": [7, 7]})
    assert get_workload("cifar10", options).data().test.tensors[1].tolist() == [7, 7]  # type: ignore[attr-defined]
