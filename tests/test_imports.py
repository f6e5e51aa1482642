"""The layout: gradients -> rules (using theory) -> control -> {optim, tune} -> study -> report."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import defaultdict
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import gap_tune
from gap_tune.tune import ray_private
from tests.layout import units
from tests.layout.imports import Sources
from tests.layout.private_names import OF_OTHERS, PrivateUses, reached

CONTRACTS = Path(__file__).parent / "contracts"


@pytest.fixture(scope="module")
def sources() -> Sources:
    return Sources.of(Path(gap_tune.__file__).parent)


def lines(found: object) -> str:
    return "\n".join(map(str, found))  # type: ignore[call-overload]


def numbers_of_facts() -> list[int]:
    return [int(n) for n in re.findall(r"^(\d+)\. ", ray_private.__doc__ or "", re.MULTILINE)]


def test_the_layout_flows_one_way_and_nothing_is_outside_of_it(sources: Sources) -> None:
    TopologicalSorter(units.ALLOWED).prepare()
    assert {units.unit_of(module) for module in sources.trees} <= units.ALLOWED.keys()


def test_no_module_imports_against_the_flow(sources: Sources) -> None:
    assert sum(1 for _ in sources.imports()) > 1000, "nothing is looked at"
    assert not lines(units.forbidden(sources))


def test_only_what_runs_studies_mentions_ray(sources: Sources) -> None:
    assert not lines(units.of_ray(sources))


def test_the_theory_needs_numpy_only(sources: Sources) -> None:
    assert not lines(units.beyond_numpy(sources, set(sys.stdlib_module_names)))


def test_no_folder_is_a_hall(sources: Sources) -> None:
    assert not list(units.crowded(sources))


def test_only_ray_private_relies_on_what_ray_does_not_promise(sources: Sources) -> None:
    assert not lines(PrivateUses(sources).find())


def test_private_names_of_other_packages_are_listed_as_long_as_they_are_used(
    sources: Sources,
) -> None:
    used: dict[str, set[str]] = defaultdict(set)
    for module, tree in sources.trees.items():
        used[units.unit_of(module)] |= {name for _, name in reached(tree)}
    for unit, names in OF_OTHERS.items():
        assert names <= used[unit]


def test_each_fact_about_ray_has_a_contract_test_of_its_number() -> None:
    facts = numbers_of_facts()
    assert facts == list(range(1, len(facts) + 1))
    text = "\n".join(path.read_text() for path in CONTRACTS.glob("test_*.py"))
    tested = {int(number) for number in re.findall(r"^def test_fact_(\d+)_", text, re.MULTILINE)}
    assert tested == set(facts)


def test_each_module_of_ray_private_says_on_which_facts_it_relies(sources: Sources) -> None:
    facts, named = set(numbers_of_facts()), set()
    for module, tree in sources.trees.items():
        if module.startswith("gap_tune.tune.ray_private."):
            told = re.search(r"\(facts? ([^)]+)\)", ast.get_docstring(tree) or "")
            assert told is not None, module
            for first, last in re.findall(r"(\d+)(?: to (\d+))?", told[1]):
                named |= set(range(int(first), int(last or first) + 1))
    # What a failed report leaves behind, and which files Ray saves, others rely on.
    assert named == facts - {27, 29, 30}


def test_contracts_are_for_tests_alone_and_only_they_need_pytest(sources: Sources) -> None:
    theirs = ("gap_tune.testing", "pytest", "_pytest")
    others = [each for each in sources.imports() if units.unit_of(each.module) != "testing"]
    assert not lines(each for each in others if each.target.startswith(theirs))


def test_importing_the_core_needs_torch_and_numpy_only() -> None:
    code = (
        "import sys\n"
        "class Block:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'ray', 'scipy', 'pandas', 'optuna', 'rich'}:\n"
        "            raise ImportError(f'{name} must not be imported')\n"
        "sys.meta_path.insert(0, Block())\n"
        "import gap_tune, gap_tune.optim, gap_tune.theory, gap_tune.workloads, gap_tune.tune\n"
        "assert 'ray' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
