"""Spaces of users' own functions: as YAML, as JSON, and what is drawn from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import tune

from gap_tune.errors import InvalidValueError
from gap_tune.study.own.space import decode, domains_of, drawn, encode, read_space

low_high = st.tuples(st.floats(1e-6, 1.0), st.floats(1.5, 10.0))
steps = st.tuples(st.integers(1, 4), st.integers(6, 40)).map(lambda n: (n[0] / 4, n[1] / 4))
even = st.tuples(st.integers(1, 5), st.integers(8, 40)).map(lambda n: (2 * n[0], 2 * n[1]))
whole = st.tuples(st.integers(1, 5), st.integers(8, 90))
domains = st.one_of(
    low_high.map(lambda ends: tune.uniform(*ends)),
    low_high.map(lambda ends: tune.loguniform(*ends)),
    steps.map(lambda ends: tune.quniform(*ends, 0.25)),
    steps.map(lambda ends: tune.qloguniform(*ends, 0.25)),
    whole.map(lambda ends: tune.randint(*ends)),
    whole.map(lambda ends: tune.lograndint(*ends)),
    even.map(lambda ends: tune.qrandint(*ends, 2)),
    even.map(lambda ends: tune.qlograndint(*ends, 2)),
    low_high.map(lambda ends: tune.randn(*ends)),
    st.lists(st.one_of(st.integers(), st.text()), min_size=1, max_size=4).map(tune.choice),
)
constants = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers()))
names = st.sampled_from(["lr", "width", "layers", "decay", "name"])
spaces = st.dictionaries(
    names, st.one_of(domains, constants, st.dictionaries(names, domains, max_size=2)), max_size=5
)


@settings(max_examples=80, deadline=None)
@given(space=spaces, seed=st.integers(0, 10**6))
def test_a_space_that_is_written_down_draws_what_the_space_itself_draws(
    space: dict[str, Any], seed: int
) -> None:
    again = decode(json.loads(json.dumps(encode(space))))
    assert encode(again) == encode(space)
    config = drawn(space, seed)
    assert drawn(again, seed) == config
    assert domains_of(config) == {}
    # Plain values, which a configuration can be saved with.
    assert json.loads(json.dumps(config)) == config


def test_a_file_says_domains_by_name_and_constants_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(
        "lr: {loguniform: [1e-4, 1e-1]}\n"
        "width: {choice: [64, 128]}\n"
        "net: {layers: {randint: [1, 5]}, betas: [0.9, 0.999], decay: 1e-3}\n"
        "epochs: 10\n"
        "name: relu\n"
    )
    space = read_space(file)
    assert encode(space) == {
        "lr": {"loguniform": [1e-4, 0.1]},
        "width": {"choice": [64, 128]},
        "net": {"layers": {"randint": [1, 5]}, "betas": [0.9, 0.999], "decay": 1e-3},
        "epochs": 10,
        "name": "relu",
    }
    assert sorted(domains_of(space)) == ["lr", "net/layers", "width"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lr: {loguniform: [1e-1, 1e-4]}", "'lr' must have positive numbers for loguniform, the"),
        ("lr: {loguniform: [0, 1]}", "'lr' must have positive numbers for loguniform"),
        ("lr: {uniform: 3}", r"'lr' must have the numbers \[low, high\] for uniform, but got 3"),
        ("lr: {uniform: [1, a]}", r"'lr' must have the numbers \[low, high\] for uniform"),
        ("lr: {quniform: [0, 1]}", r"'lr' must have the numbers \[low, high, step\] for quniform"),
        ("lr: {logunifrom: [1e-4, 1]}", "'lr' must have a domain of .* did you mean 'loguniform'"),
        ("a: {b: {randint: [1.5, 3]}}", "'a/b' must have whole numbers for randint"),
        ("lr: {quniform: [0.1, 1, 0.25]}", "'lr' must be what Ray Tune takes for quniform"),
        ("lr: {choice: 3}", "'lr' must have a list of values to choose from, but got 3"),
        ("lr: {choice: [1], uniform: [0, 1]}", "'lr' must have one domain alone, but got"),
    ],
)
def test_a_domain_that_is_none_is_told_with_its_key_and_line(
    text: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "space.yaml"
    file.write_text(f"epochs: 3\n{text}\n")
    with pytest.raises(InvalidValueError, match=f"space.yaml, line 2: {complaint}"):
        read_space(file)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("- lr", "line 1: a space file must be a mapping of names to values"),
        ("lr: [", "a space file must be YAML"),
        ("lr: 1\nlr: 2\n", "line 2: a key must stand once, but 'lr' stands in line 1 too"),
        (None, "a space file must be one that can be read"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(
    text: str | None, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "space.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(InvalidValueError, match=complaint):
        read_space(file)


@pytest.mark.parametrize(
    "value",
    [object(), tune.sample_from(lambda: 1), tune.grid_search([1, 2]), tune.choice([object()])],
)
def test_what_cannot_be_written_down_is_refused_with_its_key(value: Any) -> None:
    with pytest.raises(InvalidValueError, match=r"param_space must hold .* at 'net/x'"):
        encode({"net": {"x": value}})
