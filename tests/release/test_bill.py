"""The bill of materials: whole, valid in what it refers to, and of licences that were looked at."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest

from tests.release.bill import NO_ASSERTION, Part, bill, license_of, parts

ROOT = Path(__file__).parents[2]
# Anybody may use, change and pass on what has these, in any product; of MPL-2.0, files that were
# changed stay under it.
ALLOWED = {
    *("0BSD", "AFL-2.1", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0"),
    *("CNRI-Python", "ISC", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "NCSA", "PSF-2.0", "Unlicense"),
    *("ZPL-2.1", "Zlib", "LLVM-exception"),
}
# What their metadata do not say, by what they ship.
LOOKED_AT = {
    "kaleido": "MIT, in LICENSE.txt",
    "logistro": "MIT, in LICENSE.md",
    "transformers": "Apache-2.0, in LICENSE",
}
# torch's build for GPUs asks for NVIDIA's libraries, which are theirs and free to use; gap_tune
# neither ships nor needs them, and torch's build for CPUs goes without.
NVIDIA = re.compile(r"nvidia-|cuda-")


def names_in(expression: str) -> set[str]:
    return set(re.findall(r"[\w.+-]+", expression)) - {"AND", "OR", "WITH"}


@pytest.fixture(scope="module")
def found() -> list[Part]:
    return parts()


def test_every_licence_is_one_that_was_looked_at(found: list[Part]) -> None:
    odd = {
        part.name: part.license
        for part in found
        if not names_in(part.license) <= ALLOWED
        and part.name not in LOOKED_AT
        and not NVIDIA.match(part.name)
    }
    assert odd == {}


def test_exceptions_are_needed(found: list[Part]) -> None:
    known = {part.name: part.license for part in found}
    for name in LOOKED_AT.keys() & known.keys():
        assert not names_in(known[name]) <= ALLOWED


def test_what_is_proprietary_comes_with_torch_alone(found: list[Part]) -> None:
    theirs = {part.name for part in found if NVIDIA.match(part.name)}
    asking = {part.name for part in found for need in part.needs if need in theirs}
    assert asking <= {"torch", *theirs}


@pytest.mark.parametrize("copyleft", ["GPL-3.0-only", "MIT AND LGPL-2.1", "AGPL-3.0", "GPLv3"])
def test_a_licence_that_binds_users_is_not_allowed(copyleft: str) -> None:
    assert not names_in(copyleft) <= ALLOWED


def test_all_that_is_asked_for_is_in_it_at_the_version_that_is_pinned(found: list[Part]) -> None:
    known = {part.name: part for part in found}
    assert {"gap-tune", "torch", "ray", "numpy", "jinja2", "markupsafe"} <= known.keys()
    for part in found:
        assert part.version == version(part.name)
        assert part.name not in part.needs
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    for name in pinned.keys() & known.keys():
        assert known[name].version == pinned[name]


def test_it_refers_to_what_is_in_it_and_says_what_the_format_asks_for() -> None:
    made: dict[str, Any] = bill(datetime(2026, 11, 30, tzinfo=UTC))
    assert made["spdxVersion"] == "SPDX-2.3"
    assert made["creationInfo"]["created"] == "2026-11-30T00:00:00Z"
    references = [package["SPDXID"] for package in made["packages"]]
    assert len(set(references)) == len(references)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", each) for each in references)
    assert set(made["documentDescribes"]) <= set(references)
    for relation in made["relationships"]:
        assert {relation["spdxElementId"], relation["relatedSpdxElement"]} <= set(references)
    for package in made["packages"]:
        assert package["licenseDeclared"] == NO_ASSERTION or " ," not in package["licenseDeclared"]
    assert bill(datetime(2026, 11, 30, tzinfo=UTC)) == made


def test_licences_are_read_from_the_newest_field_that_says_one() -> None:
    assert license_of(distribution("gap-tune")) == "Apache-2.0"
    assert license_of(distribution("numpy")).startswith("BSD-3-Clause")
