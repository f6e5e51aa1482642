"""OwnFunction: a user's Tune function, and the name by which another process finds it."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from types import ModuleType
from typing import Any

from ray import cloudpickle

from gap_tune.errors import UnsupportedError
from gap_tune.importing import imported

TuneFunction = Callable[[dict[str, Any]], Any]

_SUFFIX = ".py"
# Modules of scripts are called so, lest "train.py" stands for a package of that name.
_PREFIX = "_gap_tune_script_"


@dataclass(frozen=True)
class OwnFunction:
    """A Tune function: it takes a configuration, calls ``gap_tune.attach``, and reports.

    Attributes:
        function: The function itself.
        path: "package.module:function" or "folder/script.py:function"; None where it has no such
            name, as in a notebook, in another function, or with parameters bound to it.
    """

    function: TuneFunction
    path: str | None

    @classmethod
    def of(cls, given: TuneFunction | str) -> OwnFunction:
        """Return the function that is given, or that a path names.

        Raises:
            UnsupportedError: When it is a class or no function, or cannot be imported.

        >>> import json
        >>> OwnFunction.of(json.loads).path, OwnFunction.of("json:loads").name
        ('json:loads', 'json:loads')
        """
        function = _found(given) if isinstance(given, str) else given
        if inspect.isclass(function) or not callable(function):
            raise UnsupportedError(
                "a study's own function must be a function of a configuration, as Ray Tune takes "
                f"it, but got {'the class ' if inspect.isclass(function) else ''}{given!r:.200}: "
                "of a class trainable, compare in your own study with GapSearch(baselines=...)."
            )
        return cls(function, _path_of(function))

    @property
    def name(self) -> str:
        """What a reader knows it by."""
        if self.path is None:
            return str(getattr(self.function, "__name__", type(self.function).__name__))
        module, _, name = self.path.rpartition(":")
        return f"{Path(module).name if module.endswith(_SUFFIX) else module}:{name}"


def _found(path: str) -> Any:
    module, colon, name = path.rpartition(":")
    if not colon or not module or not name:
        raise UnsupportedError(
            "a study's own function must be named as my_module:train or path/script.py:train, "
            f"but got {path!r}."
        )
    if not module.endswith(_SUFFIX):
        return imported(path, "function", kind="function")
    try:
        return reduce(getattr, name.split("."), _script(Path(module).resolve()))
    # A script that reads its command line when it is imported would end whoever asks.
    except (Exception, SystemExit) as error:
        why = " ".join(str(error).split())[:300] or repr(error)
        raise UnsupportedError(
            f'function "{path}" must name a function that can be imported, but got: {why}.'
        ) from None


def _script(file: Path) -> ModuleType:
    """Return a script as a module, without what it does only when it is run."""
    main = sys.modules.get("__main__")
    if main is not None and _file_of(main) == file:
        return main
    name = f"{_PREFIX}{file.stem}"
    known = sys.modules.get(name)
    if known is not None and _file_of(known) == file:
        return known
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # What lies beside it, as for Python itself.
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    # Trials run in processes that cannot import a script.
    cloudpickle.register_pickle_by_value(module)
    return module


def _path_of(function: Any) -> str | None:
    """Return the name by which another process finds a function; None where there is none."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", "")
    if module is None or not name or "<" in name:
        return None
    try:
        if reduce(getattr, name.split("."), module) is not function:
            return None
    except AttributeError:
        return None
    if module.__name__ != "__main__" and not module.__name__.startswith(_PREFIX):
        return f"{module.__name__}:{name}"
    file = _file_of(module)
    return None if file is None else f"{file}:{name}"


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return None if not file else Path(file).resolve()
