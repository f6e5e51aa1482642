"""Who imports what, read off the source: a name that a package re-exports counts where it lives."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_LOADERS = {"import_module", "__import__"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class Import:
    """One name that a module takes from elsewhere.

    Attributes:
        module: Who takes it.
        line: Where.
        named: The dotted name as it is spelled there.
        target: The module of ours that defines it; the dotted name of what is not ours.
        late: Whether a function does so, rather than the module as it is imported.
    """

    module: str
    line: int
    named: str
    target: str
    late: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


class Sources:
    """The modules of a package, by their dotted names.

    Args:
        texts: Source by module.
        packages: Which of them are packages, ``__init__.py`` files; default all that hold others.
    """

    def __init__(self, texts: Mapping[str, str], packages: set[str] | None = None) -> None:
        self.trees = {name: ast.parse(text) for name, text in texts.items()}
        holders = {name.rpartition(".")[0] for name in texts}
        self.packages = (holders if packages is None else packages) & self.trees.keys()
        self._bound: dict[str, dict[str, str]] = {}

    @classmethod
    def of(cls, folder: Path) -> Sources:
        """Return the sources of the package in a folder."""
        texts, packages = {}, set()
        for path in folder.rglob("*.py"):
            parts = [folder.name, *path.relative_to(folder).with_suffix("").parts]
            if parts[-1] == "__init__":
                parts.pop()
                packages.add(".".join(parts))
            texts[".".join(parts)] = path.read_text()
        return cls(texts, packages)

    def imports(self) -> Iterator[Import]:
        """Yield what modules take: by imports anywhere, by attributes of packages, by name."""
        for module in self.trees:
            yield from self.imports_of(module)

    def imports_of(self, module: str) -> Iterator[Import]:
        """Yield what one module takes."""
        bound = self.bound(module)
        for node, late in _walk(self.trees[module]):
            for name in self._taken(module, node, bound):
                line = getattr(node, "lineno", 0)
                yield Import(module, line, name, self.home(name), late)

    def bound(self, module: str) -> dict[str, str]:
        """Return what imports of a module bind, as dotted names by the names they have there."""
        if module in self._bound:
            return self._bound[module]
        found = self._bound.setdefault(module, {})
        for node in ast.walk(self.trees[module]):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    top = alias.name.partition(".")[0]
                    found[alias.asname or top] = alias.name if alias.asname else top
            elif isinstance(node, ast.ImportFrom):
                base = self._base(module, node)
                for alias in node.names:
                    found[alias.asname or alias.name] = f"{base}.{alias.name}"
        return found

    def home(self, name: str, seen: frozenset[str] = frozenset()) -> str:
        """Return the module of ours that defines a dotted name; the name itself where none does.

        What a package passes on, now or late, lives in the module that it has it from. A name
        that a package itself defines, or nobody does, lives in the package.
        """
        while name in self._passed_on and name not in seen:
            seen |= {name}
            name = self._passed_on[name]
        if name in self.trees:
            return name
        owner = name.rpartition(".")[0]
        found = self.home(owner, seen) if owner else name
        return found if found in self.trees else name

    @cached_property
    def _passed_on(self) -> dict[str, str]:
        """What packages have from elsewhere, by the dotted names under which they offer it."""
        found: dict[str, str] = {}
        for package in self.packages:
            for node in ast.walk(self.trees[package]):
                if isinstance(node, ast.Dict):
                    found |= {f"{package}.{k}": f"{v}.{k}" for k, v in self._late(node)}
            found |= {f"{package}.{name}": source for name, source in self.bound(package).items()}
        return {name: source for name, source in found.items() if name != source}

    def _late(self, table: ast.Dict) -> Iterator[tuple[str, str]]:
        """Yield names and modules of a table, such as a package's ``__getattr__`` goes by."""
        for key, value in zip(table.keys, table.values, strict=True):
            texts = isinstance(key, ast.Constant) and isinstance(value, ast.Constant)
            if texts and value.value in self.trees:
                yield str(key.value), str(value.value)

    def _taken(self, module: str, node: ast.AST, bound: Mapping[str, str]) -> Iterator[str]:
        """Yield the dotted names that a node takes from elsewhere."""
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = self._base(module, node)
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            first, _, rest = dotted(node).partition(".")
            if first in bound:
                yield f"{bound[first]}.{rest}"
        elif isinstance(node, ast.Constant) and node.value in self.trees and "." in node.value:
            yield node.value
        elif isinstance(node, ast.Call) and last_name(node.func) in _LOADERS:
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield argument.value

    def _base(self, module: str, node: ast.ImportFrom) -> str:
        """Return what an import is relative to, with what it names itself."""
        if not node.level:
            return str(node.module)
        parts = module.split(".")
        up = node.level - (module in self.packages)
        kept = parts[: len(parts) - up]
        return ".".join([*kept, *([node.module] if node.module else [])])


def _walk(tree: ast.AST) -> Iterator[tuple[ast.AST, bool]]:
    """Yield the nodes of a tree, and whether a function has to be called to reach them."""
    waiting = [(tree, False)]
    while waiting:
        node, late = waiting.pop()
        yield node, late
        late = late or isinstance(node, _FUNCTIONS)
        waiting.extend((child, late) for child in ast.iter_child_nodes(node))


def dotted(node: ast.AST) -> str:
    """Return a chain of attributes as it is spelled; empty where it begins with no name."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def last_name(node: ast.AST) -> str:
    """Return the last name of what is called; empty where it has none."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
