"""Where a package relies on what Ray keeps private, found by its syntax trees."""

from __future__ import annotations

import ast
import builtins
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

import ray

from tests.layout.imports import Sources, dotted, last_name
from tests.layout.units import unit_of

RAY_PRIVATE = "gap_tune.tune.ray_private"
# No underscore, and no promise either: what Ray documents nowhere, or says it may change.
UNPROMISED = {
    "experiment_dir_name",
    "experiment_driver_staging_path",
    "experiment_fs_path",
    "experimental",
    "get_live_trials",
    "latest_checkpoint_result",
    "local_path",
    "run_metadata",
    "storage_filesystem",
    "temporary_state",
    "trial_fs_path",
}
# Private names of torch and transformers that units may use.
OF_OTHERS = {
    "gradients": {"_indices", "_optimizer_step_post_hooks", "_values"},
    "training": {"_schedulers"},
    "tune.integrations": {"_get_output_dir", "_save_rng_state", "_trial"},
}
# Packages whose own private functions are called by their dotted names.
_NOT_RAYS = {"os", "sys", "torch"}
_BY_TEXT = {"getattr", "hasattr", "setattr", "delattr", "attrgetter", "methodcaller"}
_OWN = {"self", "cls"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Use:
    """A place that relies on something private.

    Attributes:
        module: Where.
        line: Where in it.
        name: On what.
        why: Why that is taken for Ray's.
    """

    module: str
    line: int
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} uses {self.name}, {self.why}"


class PrivateUses:
    """Looks for uses of Ray's private names in sources, outside of ``ray_private``."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._classes = {
            f"{module}.{node.name}": node
            for module, tree in sources.trees.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
        }

    def find(self) -> Iterator[Use]:
        """Yield all uses."""
        for module in self._sources.trees:
            if not f"{module}.".startswith(f"{RAY_PRIVATE}."):
                yield from self._imported(module)
                yield from self._of_others(module)
        for name in self._classes:
            if not name.startswith(f"{RAY_PRIVATE}."):
                yield from self._inherited(name)

    def _imported(self, module: str) -> Iterator[Use]:
        """Yield what is imported from, or reached through, Ray's private modules."""
        for each in self._sources.imports_of(module):
            top, *parts = each.named.split(".")
            if top == "ray" and any(is_private(part) or part in UNPROMISED for part in parts):
                yield Use(module, each.line, each.named, "which is no part of Ray's interface")

    def _of_others(self, module: str) -> Iterator[Use]:
        """Yield attributes of other things than ``self`` that may be Ray's."""
        tree = self._sources.trees[module]
        known = defined_in(tree) | OF_OTHERS.get(unit_of(module), set())
        for line, name in reached(tree):
            if name in UNPROMISED:
                yield Use(module, line, name, "which Ray does not promise")
            elif not is_private(name) or name in known:
                continue
            elif name in rays_names():
                yield Use(module, line, name, "which a class of Ray has")
            elif name not in self._ours:
                yield Use(module, line, name, "which no class of ours defines")

    def _inherited(self, name: str) -> Iterator[Use]:
        """Yield private attributes that a subclass of a class of Ray has from it."""
        node, module = self._classes[name], name.rpartition(".")[0]
        ancestors = list(self._ancestors(name))
        foreign = [each for each in ancestors if each not in self._classes]
        rays = [each for each in foreign if each.split(".")[0] == "ray" or each == "?"]
        if not rays:
            return
        bodies = [self._classes[each] for each in ancestors if each in self._classes]
        own = {each for body in (node, *bodies) for each in defined_in(body)}
        theirs = {each for base in rays if base != "?" for each in names_of_class(base)}
        for line, attribute in _of_self(node):
            if is_private(attribute) and attribute not in own:
                yield Use(module, line, attribute, f"which {node.name} has from a class of Ray")
        for attribute in sorted(filter(is_private, defined_in(node) & theirs)):
            yield Use(module, node.lineno, attribute, f"with which {node.name} replaces Ray's own")

    @cached_property
    def _ours(self) -> set[str]:
        return {name for tree in self._sources.trees.values() for name in defined_in(tree)}

    def _ancestors(self, name: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        """Yield the classes that a class is derived from, as of ``_class``."""
        seen |= {name}
        for base in self._classes[name].bases:
            spelled = dotted(base.value if isinstance(base, ast.Subscript) else base)
            found = self._class(name.rpartition(".")[0], spelled)
            if found is not None and found not in seen:
                yield found
                if found in self._classes:
                    yield from self._ancestors(found, seen)

    def _class(self, module: str, spelled: str) -> str | None:
        """Return the dotted name of a class that a module spells so.

        Returns:
            None for what Python has built in, "?" for what only runs can tell.
        """
        first, _, rest = spelled.partition(".")
        bound = self._sources.bound(module)
        if first in bound:
            named = f"{bound[first]}.{rest}".rstrip(".")
            home = self._sources.home(named)
            return f"{home}.{named.rpartition('.')[2]}" if home in self._sources.trees else named
        if f"{module}.{spelled}" in self._classes:
            return f"{module}.{spelled}"
        return None if hasattr(builtins, spelled) else "?"


def is_private(name: str) -> bool:
    """Tell whether a name has a single underscore in front."""
    return name.startswith("_") and not name.startswith("__") and name != "_"


def defined_in(tree: ast.AST) -> set[str]:
    """Return the names that a tree defines: functions, classes, variables, attributes of self.

    An attribute that is only changed (``self.x += 1``) has been defined elsewhere.
    """
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            names.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets += [node.target] if isinstance(node, (ast.AnnAssign, ast.NamedExpr)) else []
        for target in (part for whole in targets for part in ast.walk(whole)):
            if isinstance(target, ast.Name):
                names.add(target.id)
            elif isinstance(target, ast.Attribute) and dotted(target.value) in _OWN:
                names.add(target.attr)
    return names


def names_of_class(name: str) -> set[str]:
    """Return the names that a class of Ray and those that it is derived from define."""
    module, _, kind = name.rpartition(".")
    found: Any = getattr(import_module(module), kind)
    own = [each for each in getattr(found, "__mro__", ()) if each.__module__.split(".")[0] == "ray"]
    sources = [ast.parse(textwrap.dedent(inspect.getsource(each))) for each in own]
    return {each for source in sources for each in defined_in(source)}


@cache
def rays_names() -> frozenset[str]:
    """Return the private names that Ray Tune and Ray Train define."""
    root = Path(ray.__file__).parent
    paths = [path for part in ("tune", "train") for path in (root / part).rglob("*.py")]
    names = (defined_in(ast.parse(path.read_text())) for path in paths)
    return frozenset(name for found in names for name in found if is_private(name))


def reached(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the attributes of what is not ``self``, spelled out or as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            first = dotted(node).partition(".")[0]
            if not _is_self(node.value) and first not in _NOT_RAYS:
                yield node.lineno, node.attr
        elif isinstance(node, ast.Call) and last_name(node.func) in _BY_TEXT:
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield from ((node.lineno, part) for part in argument.value.split("."))
        elif isinstance(node, ast.Subscript) and _is_vars(node.value):
            yield node.lineno, str(getattr(node.slice, "value", ""))


def _of_self(node: ast.ClassDef) -> Iterator[tuple[int, str]]:
    """Yield the attributes of ``self``, ``cls`` and ``super()`` in a class, not in inner ones."""
    waiting: list[ast.AST] = list(node.body)
    while waiting:
        part = waiting.pop()
        if isinstance(part, ast.Attribute) and _is_self(part.value):
            yield part.lineno, part.attr
        if not isinstance(part, ast.ClassDef):
            waiting.extend(ast.iter_child_nodes(part))


def _is_self(node: ast.AST) -> bool:
    called = isinstance(node, ast.Call) and last_name(node.func) == "super"
    return called or (isinstance(node, ast.Name) and node.id in _OWN)


def _is_vars(node: ast.AST) -> bool:
    called = isinstance(node, ast.Call) and last_name(node.func) == "vars"
    return called or (isinstance(node, ast.Attribute) and node.attr == "__dict__")
