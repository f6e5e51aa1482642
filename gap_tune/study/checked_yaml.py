"""FileKind: YAML files as objects that pydantic validates, with errors that name the line."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeAlias, TypeVar, get_args, get_type_hints

import yaml
from pydantic import AfterValidator, BeforeValidator, Strict, TypeAdapter, ValidationError

from gap_tune.errors import GapTuneError, InvalidValueError, did_you_mean

_T = TypeVar("_T")
# What a value must be, by the type of pydantic's error.
_WORDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}
# Written out, a few lines of aliases of aliases would fill any memory.
_MOST_VALUES = 100_000
_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument", "invalid_key")


def _with_exponent(value: Any) -> Any:
    # YAML 1.1 takes 1e-3, without a point, for text.
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


# Values as they are written: "3" is no number, and 1.0 no whole one.
Text: TypeAlias = Annotated[str, Strict()]
WholeNumber: TypeAlias = Annotated[int, Strict()]
Number: TypeAlias = Annotated[float, Strict(), BeforeValidator(_with_exponent)]
Flag: TypeAlias = Annotated[bool, Strict()]


def checked(check: Callable[[Any], object]) -> AfterValidator:
    """Return a validator, for ``Annotated``, that passes on what a check of gap_tune's lets pass.

    >>> from gap_tune.errors import check_count
    >>> TypeAdapter(Annotated[int, checked(lambda n: check_count("seeds", n))]).validate_python(3)
    3
    """

    def validate(value: _T) -> _T:
        refuse(lambda: check(value))
        return value

    return AfterValidator(validate)


def refuse(check: Callable[[], object]) -> None:
    """Call a check; pydantic expects whatever it says of a value as a ``ValueError``."""
    try:
        check()
    except GapTuneError as error:
        raise InvalidValueError(str(error)) from None


@dataclass(frozen=True)
class FileKind(Generic[_T]):
    """A kind of file.

    Attributes:
        name: In words: "a study file".
        type: What it is read as: a pydantic model, or a dataclass of types that pydantic knows,
            with ``extra="forbid"`` in its configuration.
        words: What the values of keys must be that are more than a word or a number; of "", what
            the file is a mapping of, where its keys are not known beforehand.
    """

    name: str
    type: type[_T]
    words: Mapping[str, str]

    def read(self, path: Path | str) -> _T:
        """Return what a file holds.

        Raises:
            InvalidValueError: When the file cannot be read, is not YAML, or does not hold what it
                must; one line with the file's name and the line's number.
        """
        path = Path(path)
        root = self._composed(path)
        data = self._data(path, root)
        try:
            return TypeAdapter(self.type).validate_python(data)
        except ValidationError as error:
            # What is missing may be what is misspelt.
            found = [(e["type"] == "missing", _line_of(root, e), e) for e in error.errors()]
            _, line, first = min(found, key=lambda each: each[:2])
            raise _wrong(path, line, self._sentence(first)) from None
        except GapTuneError as error:
            raise InvalidValueError(f"{path}: {error}") from None

    def read_any(self, path: Path | str) -> dict[str, tuple[int, Any]]:
        """Return what a file of any keys holds, by key with the line that it stands in.

        Raises:
            InvalidValueError: When the file cannot be read, is not YAML, or is no mapping.
        """
        path = Path(path)
        root = self._composed(path)
        data = self._data(path, root)
        return {str(key.value): (_line(key), data[str(key.value)]) for key, _ in root.value}

    def _composed(self, path: Path) -> yaml.MappingNode:
        try:
            root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except OSError as error:
            raise InvalidValueError(
                f"{self.name} must be one that can be read, but got {path}: {error.strerror}."
            ) from None
        except RecursionError:
            raise _wrong(path, 1, f"{self.name} must not nest as deeply as it does.") from None
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise self._not_yaml(path, error) from None
        if root is not None and _written_out(root, {}) > _MOST_VALUES:
            text = f"{self.name} must hold at most {_MOST_VALUES} values, aliases written out"
            raise _wrong(path, 1, f"{text}, but holds more.")
        if not isinstance(root, yaml.MappingNode):
            line = 1 if root is None else _line(root)
            of = self.words.get("") or self._keys(())
            raise _wrong(path, line, f"{self.name} must be a mapping of {of}.")
        return root

    def _data(self, path: Path, root: yaml.MappingNode) -> dict[str, Any]:
        for first, again in _repeated(root, set()):
            text = f"{again.value!r} stands in line {_line(first)} too."
            raise _wrong(path, _line(again), f"a key must stand once, but {text}")
        return {str(key.value): self._value(path, node) for key, node in root.value}

    def _value(self, path: Path, node: yaml.Node) -> Any:
        loader = yaml.SafeLoader("")
        try:
            return loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            raise self._not_yaml(path, error, _line(node)) from None
        finally:
            loader.dispose()

    def _sentence(self, error: Mapping[str, Any]) -> str:
        """Return what one of pydantic's errors says, in the words of gap_tune."""
        kind, place = error["type"], error["loc"]
        if kind == "value_error":
            return str(error["ctx"]["error"])
        if kind in _UNKNOWN_KEY:
            known = self._keys(place[:-1])
            near = did_you_mean(place[-1], known)
            return f"a key must be one of {known}, but got {place[-1]!r}.{near}"
        # What is wrong within a list, or with a key of no meaning, is told of the whole.
        name = next(part for part in reversed(place) if part != "[key]" and isinstance(part, str))
        if kind == "missing":
            article = "" if name.endswith("s") else "a "
            return f"{self.name} must name {article}{name}, but got none."
        words = self.words.get(name) or _WORDS.get(kind) or error["msg"]
        return f"{name} must be {words}, but got {error['input']!r:.200}."

    def _keys(self, place: tuple[int | str, ...]) -> list[str]:
        """Return the keys of the mapping at a place: names of keys, and places in lists."""
        kind: Any = self.type
        for part in place:
            kind = get_type_hints(kind)[part] if isinstance(part, str) else get_args(kind)[0]
        return list(inspect.signature(kind).parameters)

    def _not_yaml(self, path: Path, error: Exception, line: int = 1) -> InvalidValueError:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        at = line if mark is None else mark.line + 1
        return _wrong(path, at, f"{self.name} must be YAML, but {problem}.")


def read_mapping(path: Path | str, name: str) -> dict[str, tuple[int, Any]]:
    """Return what a file of any keys holds; errors as of ``FileKind.read_any``.

    Args:
        path: The file.
        name: What kind of file it is, in words.
    """
    return FileKind(name, dict, {"": "names to values"}).read_any(path)


def _written_out(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node is with its aliases written out; one within itself is none."""
    if id(node) not in known:
        known[id(node)] = 0
        children = node.value if not isinstance(node, yaml.ScalarNode) else ()
        parts = (part for c in children for part in (c if isinstance(c, tuple) else (c,)))
        known[id(node)] = 1 + sum(_written_out(part, known) for part in parts)
    return known[id(node)]


def _repeated(node: yaml.Node, seen: set[int]) -> Iterator[tuple[yaml.Node, yaml.Node]]:
    """Yield the keys that stand twice in a mapping, both times."""
    # An alias is the node that it stands for, even within itself.
    if id(node) in seen or isinstance(node, yaml.ScalarNode):
        return
    seen.add(id(node))
    if not isinstance(node, yaml.MappingNode):
        for item in node.value:
            yield from _repeated(item, seen)
        return
    keys: dict[tuple[str, str], yaml.Node] = {}
    for key, value in node.value:
        first = keys.setdefault((key.tag, str(key.value)), key)
        if first is not key:
            yield first, key
        yield from _repeated(value, seen)


def _line_of(root: yaml.MappingNode, error: Mapping[str, Any]) -> int:
    """Return the line of what an error is about: its key's, or its place's in a list."""
    node: yaml.Node = root
    line = _line(root)
    for part in error["loc"]:
        if isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
            line = _line(node)
        else:
            entries = _entries(node)
            if str(part) not in entries:
                return line
            key, node = entries[str(part)]
            line = _line(key)
    # Checks of a whole mapping begin with the key that they are about.
    entries = _entries(node)
    word = str(error.get("ctx", {}).get("error", "")).partition(" ")[0]
    return _line(entries[word][0]) if word in entries else line


def _entries(node: yaml.Node) -> dict[str, tuple[yaml.Node, yaml.Node]]:
    """Return key and value of a mapping by the key's text; nothing of other nodes."""
    if not isinstance(node, yaml.MappingNode):
        return {}
    return {str(key.value): (key, value) for key, value in node.value}


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _wrong(path: Path, line: int, text: str) -> InvalidValueError:
    return InvalidValueError(f"{path}, line {line}: {text}")
