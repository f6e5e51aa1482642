"""The checkers of the layout, on made-up sources: each kind of offence is found, and no other."""

from __future__ import annotations

import sys

import pytest

from tests.layout import units
from tests.layout.imports import Sources
from tests.layout.private_names import PrivateUses

# A package like ours, in which every name can be had by several ways.
PACKAGE = {
    "gap_tune": (
        "from gap_tune.rules import Rule\n"
        "_LATE = {'GapScheduler': 'gap_tune.tune', 'Study': 'gap_tune.study'}\n"
    ),
    "gap_tune.errors": "class GapTuneError(Exception): pass",
    "gap_tune.gradients": "from gap_tune.gradients.monitor import Monitor",
    "gap_tune.gradients.monitor": "class Monitor: pass",
    "gap_tune.rules": "from .base import Rule",
    "gap_tune.rules.base": "class Rule: pass",
    "gap_tune.workloads": "",
    "gap_tune.training": "def train(): pass",
    "gap_tune.tune": "_MODULES = {'GapScheduler': 'gap_tune.tune.scheduling.scheduler'}",
    "gap_tune.tune.keys": "SEQ = 'gap/seq'",
    "gap_tune.tune.scheduling": "",
    "gap_tune.tune.scheduling.scheduler": "class GapScheduler: pass",
    "gap_tune.tune.trial": "",
    "gap_tune.tune.trial.session": "class Session: pass",
    "gap_tune.tune.ray_private": "",
    "gap_tune.tune.ray_private.delivery": "def send(trial): trial.temporary_state",
    "gap_tune.study": "class Study: pass",
    "gap_tune.report": "from gap_tune.report.verdict import verdict",
    "gap_tune.report.verdict": "def verdict(): pass",
    "gap_tune.cli": "app = None",
}


def with_module(module: str, text: str) -> Sources:
    packages = {"gap_tune", *(f"gap_tune.{name}" for name in ("gradients", "rules", "tune"))}
    packages |= {"gap_tune.report", "gap_tune.tune.scheduling", "gap_tune.tune.trial"}
    return Sources({**PACKAGE, module: text}, packages)


def test_the_made_up_package_is_in_order() -> None:
    sources = Sources(PACKAGE)
    assert not list(units.forbidden(sources))
    assert not list(units.of_ray(sources))
    assert not list(PrivateUses(sources).find())


@pytest.mark.parametrize(
    ("module", "text", "target"),
    [
        ("gap_tune.rules.own", "from gap_tune.tune.keys import SEQ", "gap_tune.tune.keys"),
        ("gap_tune.rules.own", "import gap_tune.tune.keys", "gap_tune.tune.keys"),
        ("gap_tune.rules.own", "from gap_tune.tune import keys", "gap_tune.tune.keys"),
        ("gap_tune.rules.own", "from ..tune import keys", "gap_tune.tune.keys"),
        ("gap_tune.rules.own", "from ..tune.keys import SEQ", "gap_tune.tune.keys"),
        ("gap_tune.rules.own", "def f():\n    import gap_tune.tune.keys", "gap_tune.tune.keys"),
        # By way of packages that pass names on, now and late.
        ("gap_tune.gradients.own", "from gap_tune import Rule", "gap_tune.rules.base"),
        ("gap_tune.gradients.own", "from gap_tune.rules import Rule", "gap_tune.rules.base"),
        (
            *("gap_tune.rules.own", "from gap_tune import GapScheduler"),
            "gap_tune.tune.scheduling.scheduler",
        ),
        (
            *("gap_tune.tune.trial.own", "from gap_tune.tune import GapScheduler"),
            "gap_tune.tune.scheduling.scheduler",
        ),
        ("gap_tune.rules.own", "import gap_tune\ngap_tune.Study()", "gap_tune.study"),
        ("gap_tune.rules.own", "import gap_tune as g\ng.tune.keys.SEQ", "gap_tune.tune.keys"),
        (
            *("gap_tune.rules.own", "from gap_tune import tune\ntune.GapScheduler()"),
            "gap_tune.tune.scheduling.scheduler",
        ),
        ("gap_tune.rules.own", "from gap_tune.tune import *", "gap_tune.tune"),
        # By text.
        ("gap_tune.rules.own", "import_module('gap_tune.tune.keys')", "gap_tune.tune.keys"),
        ("gap_tune.rules.own", "_LATE = {'SEQ': 'gap_tune.tune.keys'}", "gap_tune.tune.keys"),
        # The sides of tune, and what nobody may import.
        (
            *("gap_tune.tune.trial.own", "from gap_tune.tune.scheduling import scheduler"),
            "gap_tune.tune.scheduling.scheduler",
        ),
        (
            *("gap_tune.tune.ray_private.own", "from gap_tune.tune.trial.session import Session"),
            "gap_tune.tune.trial.session",
        ),
        ("gap_tune.workloads.own", "from gap_tune.training import train", "gap_tune.training"),
        ("gap_tune.workloads.own", "from gap_tune.tune import keys", "gap_tune.tune.keys"),
        ("gap_tune.study.own", "from gap_tune.report import verdict", "gap_tune.report.verdict"),
        ("gap_tune.study.own", "def f():\n    from gap_tune.cli import app", "gap_tune.cli"),
        ("gap_tune.unheard_of", "from gap_tune.rules import Rule", "gap_tune.rules.base"),
    ],
)
def test_an_import_against_the_flow_is_found(module: str, text: str, target: str) -> None:
    found = {each.target for each in units.forbidden(with_module(module, text))}
    assert target in found


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("gap_tune.rules.own", "from gap_tune.gradients import Monitor"),
        ("gap_tune.rules.own", "from gap_tune.errors import GapTuneError"),
        ("gap_tune.tune.trial.own", "from gap_tune import Rule\nfrom gap_tune.tune import keys"),
        ("gap_tune.report.own", "from gap_tune import Study"),
        ("gap_tune.cli.own", "import gap_tune.study\nfrom gap_tune.report import verdict"),
    ],
)
def test_an_import_along_the_flow_is_fine(module: str, text: str) -> None:
    assert not list(units.forbidden(with_module(module, text)))


@pytest.mark.parametrize("text", ["import ray", "def f():\n    from ray import tune"])
@pytest.mark.parametrize("module", ["gap_tune.rules.own", "gap_tune.workloads.own"])
def test_ray_is_found_where_it_may_not_be(module: str, text: str) -> None:
    assert list(units.of_ray(with_module(module, text)))
    assert not list(units.of_ray(with_module("gap_tune.study.own", text)))


@pytest.mark.parametrize(
    ("text", "fine"),
    [
        ("import numpy as np\nimport math", True),
        ("def f():\n    from scipy.optimize import brentq", True),
        ("from scipy.optimize import brentq", False),
        ("def f():\n    import torch", False),
    ],
)
def test_what_the_theory_needs_besides_numpy_is_found(text: str, fine: bool) -> None:
    found = units.beyond_numpy(
        with_module("gap_tune.theory.own", text), set(sys.stdlib_module_names)
    )
    assert (not list(found)) is fine


def test_a_folder_with_too_many_modules_is_found() -> None:
    rooms = {f"gap_tune.rules.room_{number}": "" for number in range(units.MOST_MODULES)}
    assert not list(units.crowded(Sources({"gap_tune.rules": "", **rooms})))
    rooms["gap_tune.rules.one_more"] = ""
    assert list(units.crowded(Sources({"gap_tune.rules": "", **rooms}))) == [
        ("gap_tune.rules", units.MOST_MODULES + 1)
    ]


SUBCLASS = "from ray.tune.search import Searcher\nclass Own(Searcher):\n"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        # Modules.
        ("from ray.train._internal.session import get_session", "get_session"),
        ("from ray.train import _internal", "_internal"),
        ("from ray import _private", "_private"),
        ("import ray.experimental.internal_kv", "internal_kv"),
        ("from ray.experimental import internal_kv", "internal_kv"),
        ("import ray\nray._private.worker", "worker"),
        ("def f():\n    import ray.train.v2._internal.execution", "execution"),
        ("import_module('ray.train._internal')", "_internal"),
        # Attributes of others, spelled out and as text.
        ("def f(trial): return trial.temporary_state.ray_actor", "temporary_state"),
        ("def f(trial): trial.run_metadata.last_result = 1", "run_metadata"),
        ("def f(trial): return getattr(trial, 'run_metadata')", "run_metadata"),
        ("def f(s): return s._space", "_space"),
        ("def f(s): s._space = None", "_space"),
        ("def f(s): return getattr(s, '_space', None)", "_space"),
        ("def f(s): return hasattr(s, '_space')", "_space"),
        ("def f(s): setattr(s, '_space', None)", "_space"),
        ("f = attrgetter('a._space')", "_space"),
        ("def f(s): return vars(s)['_space']", "_space"),
        ("def f(s): return s.__dict__['_space']", "_space"),
        ("def f(s): return s.inner()._unheard_of", "_unheard_of"),
        # A class elsewhere that defines the same name excuses nothing.
        ("def f(s): return s._trial_state", "_trial_state"),
        # What subclasses of Ray's classes have from them.
        (f"{SUBCLASS}    def f(self): return self._metric", "_metric"),
        (f"{SUBCLASS}    def f(self): self._count += 1", "_count"),
        (f"{SUBCLASS}    def f(self): return super()._mode", "_mode"),
        (f"{SUBCLASS}    @classmethod\n    def f(cls): return cls._thing", "_thing"),
        (f"{SUBCLASS}    def f(self): self._metric = 1", "_metric"),
        (f"{SUBCLASS}    _mode = None", "_mode"),
        ("import ray.tune.search as s\nclass Own(s.Searcher):\n    _metric = None", "_metric"),
        (f"{SUBCLASS}    pass\nclass More(Own):\n    def f(self): return self._metric", "_metric"),
        (
            "from gap_tune.study.plan import Plan\n"
            "class Own(Plan):\n    def f(self): return self._metric",
            "_metric",
        ),
        ("def f(base):\n    class Own(base):\n        def f(self): return self._x", "_x"),
    ],
)
def test_a_use_of_what_ray_keeps_private_is_found(text: str, name: str) -> None:
    others = {
        "gap_tune.study.plan": f"{SUBCLASS.replace('Own', 'Plan')}    _place = 0",
        # A name that Ray has too.
        "gap_tune.study.others": "class Other:\n    def f(self): self._trial_state = 1",
    }
    sources = Sources({**PACKAGE, **others, "gap_tune.study.own": text})
    found = {each.name.rpartition(".")[2] for each in PrivateUses(sources).find()}
    assert name in found


@pytest.mark.parametrize(
    "text",
    [
        "from ray import tune\nfrom ray.tune import Callback",
        "import torch\ntorch._foreach_add_([], 1)",
        "class Own:\n    def __init__(self): self._space = 1\ndef f(own): return own._space",
        "from gap_tune.study.others import Other\ndef f(other): return other._only_here",
        f"{SUBCLASS}    def __init__(self): self._seen = 0\n    def f(self): self._seen += 1",
        f"{SUBCLASS}    def f(self): return self.metric",
        "from gap_tune.study.plan import Plan\n"
        "class Own(Plan):\n    def f(self): return self._place",
        "def f(s): return s.__dict__, getattr(s, '__name__', ''), getattr(s, 'metric')",
        "class Own(Exception):\n    def f(self): return self._anything",
    ],
)
def test_names_of_our_own_are_not_taken_for_rays(text: str) -> None:
    others = {
        "gap_tune.study.plan": f"{SUBCLASS.replace('Own', 'Plan')}    _place = 0",
        "gap_tune.study.others": "class Other:\n    def f(self): self._only_here = 1",
    }
    sources = Sources({**PACKAGE, **others, "gap_tune.study.own": text})
    assert not list(PrivateUses(sources).find())
