"""What is particular to each task."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from gap_tune.training.local import run
from gap_tune.training.prepared import prepare
from gap_tune.workloads import get_workload
from gap_tune.workloads.text.questions import IGNORED, Questions, pad, read_questions
from gap_tune.workloads.vision.images import Standardise, crop_and_flip
from tests.workloads.data import TINY_VIT, Case, cases, pixels, write_images


def test_the_quadratics_noise_averages_out_and_its_optimum_is_zero() -> None:
    task = get_workload("quadratic", {"dimension": 7, "condition": 50.0, "samples": 64})
    model, splits = task.model(), task.data()
    assert model.curvatures.max() / model.curvatures.min() == pytest.approx(50.0)  # type: ignore[operator, union-attr]
    noise = splits.train.tensors[0]  # type: ignore[attr-defined]
    deviation = noise.std(0, correction=0)
    torch.testing.assert_close(deviation, model.curvatures.sqrt(), rtol=0.5, atol=0.0)  # type: ignore[operator, union-attr]
    # All training samples together are the function itself, with its gradient h * w.
    loss = task.loss(model(noise), None)
    loss.backward()
    torch.testing.assert_close(model.w.grad, model.curvatures * model.w, atol=1e-6, rtol=1e-5)
    with torch.no_grad():
        silent = model(splits.validation.tensors[0])  # type: ignore[attr-defined]
        assert task.metrics(silent, None)["regret"] == pytest.approx(loss.item(), rel=1e-4)
        model.w.zero_()
        assert task.metrics(model(splits.test.tensors[0]), None)["regret"] == 0.0  # type: ignore[attr-defined]


def test_momentum_lowers_the_regret_of_an_ill_conditioned_quadratic() -> None:
    config = Case("quadratic", {"condition": 1000.0, "noise": 0.0, "samples": 512}).config(lr=0.1)
    regrets = [
        run({**config, "momentum": m, "gap": {"mode": "fixed"}})[-1]["test_regret"]
        for m in (0.0, 0.9)
    ]
    assert regrets[1] < 0.5 * regrets[0]


def test_label_noise_changes_that_share_of_the_training_labels_only() -> None:
    clean, noisy = (
        get_workload("digits-resnet", {"label_noise": share}).data() for share in (0.0, 0.4)
    )
    changed = (clean.train.tensors[1] != noisy.train.tensors[1]).float().mean()  # type: ignore[attr-defined]
    # A tenth of the labels drawn anew are right by chance.
    assert changed.item() == pytest.approx(0.36, abs=0.03)
    for split in ("validation", "test"):
        assert torch.equal(*(getattr(each, split).tensors[1] for each in (clean, noisy)))


@pytest.mark.parametrize("table", ["breast-cancer", "digits", "wine"])
def test_the_tables_features_are_standardised(table: str) -> None:
    task = get_workload("logistic", {"table": table})
    features, classes = task.data().train.tensors  # type: ignore[attr-defined]
    assert features.mean(0).abs().max() < 1e-3
    assert task.model()(features).shape == (len(features), len(classes.unique()))


def test_a_feature_that_is_constant_in_training_is_no_giant_in_other_splits() -> None:
    splits = get_workload("logistic", {"table": "digits"}).data()
    for split in (splits.train, splits.validation, splits.test):
        # Divided by next to nothing, a grey pixel would be a million.
        assert max(float(features.abs().max()) for features, _ in split) < 1000


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_splits_of_cifar_are_what_torchvision_reads(name: str, root: Path) -> None:
    splits = get_workload(name, cases(root)[name].options).data()
    assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [16, 4, 4]
    test = splits.test.tensors[0]  # type: ignore[attr-defined]
    expected = torch.from_numpy(pixels(4)).reshape(4, 3, 32, 32)
    assert test.dtype == torch.uint8
    assert torch.equal(test, expected)


def test_crops_are_pieces_of_the_padded_image_or_of_its_mirror_image() -> None:
    chance = torch.Generator().manual_seed(0)
    images = torch.randint(256, (40, 3, 6, 6), dtype=torch.uint8)
    crops = crop_and_flip(images, 6, 2, chance)
    assert crops.shape == images.shape
    places = []
    for image, crop in zip(functional.pad(images, (2, 2, 2, 2)), crops, strict=True):
        found = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip, piece in enumerate(
                (
                    image[:, top : top + 6, left : left + 6],
                    image[:, top : top + 6, left : left + 6].flip(2),
                )
            )
            if torch.equal(crop, piece)
        ]
        assert found
        places.append(found[0])
    assert len({top for top, _, _ in places}) == len({left for _, left, _ in places}) == 5
    assert 8 < sum(flip for _, _, flip in places) < 32


def test_standardised_pixels_are_torchvisions() -> None:
    from torchvision.transforms.v2 import functional as expected

    images = torch.randint(256, (2, 3, 4, 4), dtype=torch.uint8)
    mean, deviation = [0.4, 0.5, 0.6], [0.2, 0.3, 0.1]
    torch.testing.assert_close(
        Standardise(mean, deviation)(images),
        expected.normalize(images.float() / 255, mean, deviation),
    )


class TestViT:
    def test_without_test_images_every_other_validation_image_is_one(self, root: Path) -> None:
        splits = get_workload("vit", cases(root)["vit"].options).data()
        assert [len(s) for s in (splits.train, splits.validation, splits.test)] == [14, 4, 4]
        for split in (splits.validation, splits.test):
            assert sorted(label for _, label in split) == [0, 0, 1, 1]  # type: ignore[attr-defined]

    def test_images_of_any_shape_become_crops_of_one(self, root: Path) -> None:
        splits = get_workload("vit", cases(root)["vit"].options).data()
        assert {x.shape for x, _ in splits.train} == {(3, 37, 37)}  # type: ignore[attr-defined]
        assert {x.shape for x, _ in splits.validation} == {(3, 32, 32)}  # type: ignore[attr-defined]

    def test_a_dataset_of_torchvision_trains_too(self, root: Path) -> None:
        options = {**cases(root)["vit"].options, "folder": str(root), "dataset": "pets"}
        made = prepare(Case("vit", options, 6).config())
        assert [len(s) for s in (made.splits.train, made.splits.validation)] == [18, 2]
        made.step(next(made.minibatches()))
        assert math.isfinite(made.position.mean_loss)

    def test_weights_of_a_file_fit_another_image_size_and_other_classes(
        self, root: Path, tmp_path: Path
    ) -> None:
        from torchvision.models import VisionTransformer

        trained = VisionTransformer(image_size=16, num_classes=1000, **TINY_VIT)
        torch.save(trained.state_dict(), tmp_path / "vit.pt")
        options = {**cases(root)["vit"].options, "weights": str(tmp_path / "vit.pt")}
        model = get_workload("vit", options).model()[1]  # type: ignore[index]
        assert torch.equal(model.conv_proj.weight, trained.conv_proj.weight)
        assert model.encoder.pos_embedding.shape[1] == 1 + (32 // 8) ** 2
        assert model.heads.head.out_features == 2

    def test_the_default_is_vit_b_16(self, tmp_path: Path) -> None:
        for split in ("train", "val"):
            write_images(tmp_path / split, 2)
        options = {"folder": str(tmp_path), "weights": "random"}
        task = get_workload("vit", options)
        task.data()
        with torch.device("meta"):
            model: Any = task.model()[1]  # type: ignore[index]
        # torchvision's count for a thousand classes, with two instead.
        expected = 86_567_656 - 768 * 998 - 998
        assert sum(p.numel() for p in model.parameters()) == expected


class TestLanguage:
    def test_only_the_answer_is_learned_and_it_ends(self, root: Path) -> None:
        from transformers import AutoTokenizer

        task: Any = get_workload("language", cases(root)["language"].options)
        (sample, *_) = task.data().train
        inputs, targets = task.collate([sample])
        learned = targets[0] != IGNORED
        tokenizer = AutoTokenizer.from_pretrained(root / "tokenizer")
        text = tokenizer.decode(inputs["input_ids"][0])
        answer = tokenizer.decode(targets[0][learned])
        assert text.startswith("Question: What is ")
        assert answer.startswith("It is ")
        assert answer.endswith(".<end>")
        assert text.endswith("Answer: " + answer)
        assert task.weight(targets) == learned.sum()

    def test_padding_changes_neither_loss_nor_metrics(self, root: Path) -> None:
        task: Any = get_workload("language", cases(root)["language"].options)
        torch.manual_seed(0)
        model = task.model().eval()
        short, long = torch.arange(1, 6), torch.arange(1, 20)
        with torch.no_grad():
            both, each = [(short, 2), (long, 3)], []
            for sample in both:
                inputs, targets = pad([sample])
                loss = task.loss(task.forward(model, inputs), targets).item()
                each.append((loss, task.weight(targets)))
            inputs, targets = pad(both)
            together = task.metrics(task.forward(model, inputs), targets)["loss"]
        mean = sum(loss * weight for loss, weight in each) / sum(weight for _, weight in each)
        assert together == pytest.approx(mean, rel=1e-4)

    def test_a_list_in_json_is_read_as_lines_are(self, tmp_path: Path) -> None:
        (tmp_path / "a.json").write_text('[{"query": "q", "response": "r"}]')
        # A line separator within a text is no end of a line.
        (tmp_path / "b.jsonl").write_text('{"query": "q\u2028", "response": "r"}\n\n')
        assert read_questions(tmp_path / "a.json") == [("q", "r")]
        assert read_questions(tmp_path / "b.jsonl") == [("q\u2028", "r")]

    def test_a_model_in_a_folder_is_fine_tuned_with_an_adapter(
        self, root: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("peft")
        options = {**cases(root)["language"].options, "lora": {"r": 2}}
        get_workload("language", {**options, "lora": None}).model().save_pretrained(tmp_path)  # type: ignore[operator]
        del options["architecture"]
        config = Case("language", {**options, "model": str(tmp_path)}, 6).config()
        made = prepare(config)
        trained = sum(p.numel() for p in made.learner.model.parameters() if p.requires_grad)
        assert 0 < trained < 0.1 * sum(p.numel() for p in made.learner.model.parameters())
        saved = made.objects["model"].state_dict()
        assert all("lora" in name or "bias" not in name for name in saved)
        made.step(next(made.minibatches()))
        assert math.isfinite(made.position.mean_loss)

    def test_a_model_in_a_folder_is_loaded_as_it_was_saved(
        self, root: Path, tmp_path: Path
    ) -> None:
        options = cases(root)["language"].options
        saved: Any = get_workload("language", options).model()
        saved.save_pretrained(tmp_path)
        loaded = get_workload(
            "language", {**options, "architecture": None, "model": str(tmp_path)}
        ).model()
        for a, b in zip(saved.parameters(), loaded.parameters(), strict=True):
            assert torch.equal(a, b)

    def test_sequences_are_cut_out_of_the_row_of_all(self) -> None:
        questions = Questions(torch.arange(5), torch.tensor([2, 5]), torch.tensor([1, 2]))
        assert [
            (tokens.tolist(), asked) for tokens, asked in map(questions.__getitem__, (0, 1))
        ] == [
            ([0, 1], 1),
            ([2, 3, 4], 2),
        ]


class TestCharacters:
    def test_targets_are_the_characters_that_follow(self, root: Path) -> None:
        splits = get_workload("characters", cases(root)["characters"].options).data()
        inputs, targets = splits.train.tensors  # type: ignore[attr-defined]
        assert torch.equal(inputs.flatten()[1:], targets.flatten()[:-1])
        assert inputs.shape[1] == 16

    def test_no_character_sees_what_follows_it(self, root: Path) -> None:
        model = get_workload("characters", cases(root)["characters"].options).model().eval()
        tokens = torch.randint(20, (1, 16))
        changed = tokens.clone()
        changed[0, 9:] = (changed[0, 9:] + 1) % 20
        before, after = model(tokens), model(changed)
        torch.testing.assert_close(before[:, :9], after[:, :9])
        assert not torch.allclose(before[:, 9:], after[:, 9:])

    def test_it_learns_to_spell(self, root: Path) -> None:
        options = cases(root)["characters"].options
        config = Case("characters", options, 16).config(lr=1e-2, epochs=2)
        torch.manual_seed(3)
        task: Any = get_workload("characters", options)
        guess = math.log(task.model().head.out_features)
        assert run(config)[-1]["test_loss"] < 0.9 * guess


def test_label_noise_is_the_same_at_every_call() -> None:
    labels = [
        get_workload("digits-mlp", {"label_noise": 0.5}).data().train.tensors[1]  # type: ignore[attr-defined]
        for _ in range(2)
    ]
    assert np.array_equal(*labels)
