"""Small data in the formats that users have, and how to train every workload on them."""

from __future__ import annotations

import gzip
import json
import pickle
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

TINY_VIT = {"patch_size": 8, "num_layers": 1, "num_heads": 2, "hidden_dim": 16, "mlp_dim": 32}
TINY_GPT = {"model_type": "gpt2", "n_layer": 1, "n_head": 2, "n_embd": 16, "n_positions": 64}
LICENCE = Path(sysconfig.get_path("stdlib")) / "LICENSE.txt"


@dataclass(frozen=True)
class Case:
    """A workload with data to train two steps on."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)
    batch_size: int = 8

    def config(self, **changes: Any) -> dict[str, Any]:
        return {
            "workload": self.name,
            "workload_options": self.options,
            "batch_size": self.batch_size,
            "epochs": 1,
            "lr": 1e-3,
            "seed": 3,
            **changes,
        }


def cases(root: Path) -> dict[str, Case]:
    """Return one case per workload, for which ``write`` has written the data."""
    listed = [
        Case("quadratic", {"samples": 32, "dimension": 5}, 16),
        Case("logistic", {"table": "wine"}, 32),
        Case("digits-mlp", {"label_noise": 0.3}, 512),
        Case("digits-cnn", {}, 512),
        Case("digits-resnet", {}, 512),
        Case("digits-tanh", {"depth": 2, "width": 8}, 512),
        Case("digits-attention", {"width": 8}, 512),
        Case("regression", {"table": "teacher", "samples": 160}, 48),
        Case("fashion-mnist", fashion_options(root / "fashion"), 8),
        Case("cifar10", {"folder": str(root), "check_md5": False, "validation_images": 4}),
        Case("cifar100", {"folder": str(root), "check_md5": False, "validation_images": 4}),
        Case("vit", vit_options(root / "images"), 6),
        Case(
            "language",
            {
                "file": str(root / "questions.jsonl"),
                "tokenizer": str(root / "tokenizer"),
                "architecture": TINY_GPT,
                "longest": 32,
                "held_back": 0.4,
            },
            6,
        ),
        Case(
            "characters",
            {"files": str(root / "texts"), "window": 16, "layers": 1, "heads": 2, "width": 8},
            300,
        ),
    ]
    return {case.name: case for case in listed}


def vit_options(folder: Path) -> dict[str, Any]:
    return {
        "folder": str(folder),
        "image_size": 32,
        "weights": "random",
        "architecture": TINY_VIT,
    }


def fashion_options(folder: Path) -> dict[str, Any]:
    return {"folder": str(folder), "validation_images": 8, "pixels": 7, "batch_norm": True}


def write(root: Path) -> None:
    """Write everything that ``cases`` needs into a folder."""
    write_fashion(root / "fashion")
    write_cifar10(root)
    write_cifar100(root)
    for split, each in (("train", 7), ("val", 4)):
        write_images(root / "images" / split, each)
    write_pets(root / "oxford-iiit-pet")
    write_questions(root / "questions.jsonl", 20)
    write_tokenizer(root / "tokenizer")
    (root / "texts").mkdir()
    (root / "texts" / "licence.txt").write_text(LICENCE.read_text())


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(256, size=(count, 3072), dtype=np.uint8)


def write_cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        dump(folder / name, {"data": pixels(4), "labels": [0, 1, 2, 9]})
    dump(folder / "batches.meta", {"label_names": [f"class {i}" for i in range(10)]})


def write_cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    for name, count in (("train", 20), ("test", 4)):
        dump(folder / name, {"data": pixels(count), "fine_labels": list(range(80, 80 + count))})
    dump(folder / "meta", {"fine_label_names": [f"class {i}" for i in range(100)]})


def idx(array: np.ndarray) -> bytes:
    """Return an array of bytes as an idx file holds it."""
    shape = np.array(array.shape, ">u4").tobytes()
    return b"\x00\x00\x08" + bytes([array.ndim]) + shape + array.tobytes()


def write_fashion(folder: Path) -> None:
    """Write Fashion-MNIST's four files with made-up images, two of them compressed."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    for part, count, packed in (("train", 24, True), ("t10k", 6, False)):
        images = chance.integers(256, size=(count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            name, content = f"{part}-{kind}-ubyte", idx(array)
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(content))
            else:
                (folder / name).write_bytes(content)


def dump(path: Path, entry: dict[str, Any]) -> None:
    path.write_bytes(pickle.dumps(entry))


def write_images(folder: Path, each: int, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    """Write images of different sizes, one subfolder per class."""
    chance = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for i in range(each):
            write_image(folder / name / f"{i}.jpg", 30 + 5 * i, 50, chance)


def write_image(path: Path, width: int, height: int, chance: np.random.Generator) -> None:
    from PIL import Image

    Image.fromarray(chance.integers(256, size=(height, width, 3), dtype=np.uint8)).save(path)


def write_pets(root: Path) -> None:
    """Write torchvision's layout of the Oxford-IIIT pets."""
    for folder in ("images", "annotations"):
        (root / folder).mkdir(parents=True)
    chance = np.random.default_rng(0)
    for split, count in (("trainval", 20), ("test", 4)):
        lines = []
        for i in range(count):
            name = f"{('Beagle', 'Pug')[i % 2]}_{split}{i}"
            write_image(root / "images" / f"{name}.jpg", 40, 48, chance)
            lines.append(f"{name} {i % 2 + 1} 2 {i % 2 + 1}\n")
        (root / "annotations" / f"{split}.txt").write_text("".join(lines))


def write_questions(path: Path, count: int) -> None:
    pairs = [
        {"query": f"What is {i} plus {i}?", "response": f"It is {2 * i}.", "type": "sum"}
        for i in range(count)
    ]
    path.write_text("".join(json.dumps(pair) + "\n" for pair in pairs))


def write_tokenizer(folder: Path) -> None:
    """Train a byte-pair tokenizer on a few words, and save it as transformers does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["Question: What is it? Answer: It is 42."], trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>").save_pretrained(folder)
