"""Which configuration keys GapSearch supplies, and what a study's space must not say then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.sample import Domain
from ray.tune.search.variant_generator import parse_spec_vars

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.theory.families import family_of
from gap_tune.theory.momentum import coupling_factor
from gap_tune.tune import keys, nested
from gap_tune.tune.ray_private import searchers
from gap_tune.tune.search.closeness import Axis, axis_of

# Keys by the argument of the optimizer, as the table of families names it.
_KEYS = {"momentum": "momentum", "betas[0]": "beta1"}


@dataclass(frozen=True)
class OwnedKeys:
    """The keys of a trial's configuration that GapSearch sets.

    Attributes:
        momentum: Key of the momentum (beta1 of Adam).
        beta2: Key of Adam's beta2; None leaves it alone.
        lr: Key of the learning rate to scale; None leaves it alone.
        averages: Whether the optimizer averages gradients, as Adam, rather than sums them, as SGD.
    """

    momentum: str
    beta2: str | None = None
    lr: str | None = None
    averages: bool = False

    @property
    def supplied(self) -> tuple[str, ...]:
        """Keys that nobody else may set."""
        return (self.momentum,) if self.beta2 is None else (self.momentum, self.beta2)

    def learning_rate(self, searched: float, momentum: float, reference: float) -> float:
        """Return the learning rate of a momentum, from the one meant for the reference momentum.

        ``lr_ref sqrt((1-beta^2) / (1-beta_ref^2))`` keeps the budget of Cor. 5; for averages of
        gradients times ``(1-beta_ref) / (1-beta)`` (Cor. 6).

        >>> round(OwnedKeys("momentum", lr="lr").learning_rate(0.1, 0.99, 0.9), 5)
        0.03236
        """
        factor = coupling_factor(momentum, reference)
        if self.averages:
            factor *= (1.0 - reference) / (1.0 - momentum)
        return searched * factor

    def check_space(self, config: Mapping[str, Any]) -> None:
        """Raise ``InvalidValueError`` where ``param_space`` sets what GapSearch supplies."""
        for argument, key in zip(("momentum", "beta2"), self.supplied, strict=False):
            if nested.holds(config, key):
                raise InvalidValueError(
                    f"param_space must not hold {key!r}, which GapSearch supplies, but got "
                    f"{nested.get(config, key)!r}: remove it, or pass GapSearch({argument}=...) "
                    "another key."
                )
            parent = config.get(key.partition("/")[0], {})
            if "/" in key and not isinstance(parent, (Mapping, Domain)):
                raise InvalidValueError(
                    f"param_space must hold a dict for {key!r} to be put into, "
                    f"but got {parent!r:.100}."
                )
        grids = parse_spec_vars(dict(config))[2]
        if grids:
            names = ["/".join(map(str, path)) for path, _ in grids]
            raise InvalidValueError(
                f"param_space must not hold grid_search, which no Searcher can take, but got it "
                f"for {names}: use tune.choice, or run the grid without GapSearch."
            )
        for section in self._sections(config):
            mode = section.get("mode") if isinstance(section, Mapping) else None
            known = not isinstance(mode, str) or mode in keys.MODES
            if not isinstance(section, Mapping) or not known:
                raise InvalidValueError(
                    f"{keys.SECTION!r} in param_space must be a dict whose mode is one of "
                    f"{keys.MODES}, but got {section!r}."
                )

    def _sections(self, config: Mapping[str, Any]) -> Iterator[Any]:
        """Yield what stands in a space where gap_tune's sections go."""
        for path in section_paths(nested.place_for(config, self.momentum)):
            holder = nested.at(config, path[:-1]) if len(path) > 1 else config
            if isinstance(holder, Mapping) and keys.SECTION in holder:
                yield holder[keys.SECTION]

    def missing(
        self, suggestion: Mapping[str, Any], references: tuple[float, float]
    ) -> dict[str, float]:
        """Return what a suggestion lacks that plans one of momentum and beta2 but not the other.

        Args:
            suggestion: A planned baseline; one that plans neither lacks neither.
            references: Momentum and beta2 to fill in.
        """
        pairs = dict(zip(self.supplied, references, strict=False))
        found = {key: v for key, v in pairs.items() if not nested.holds(suggestion, key)}
        return found if len(found) < len(pairs) else {}

    def check_searcher(self, searcher: Searcher) -> None:
        """Raise ``InvalidValueError`` where a searcher's space or points hold a supplied key."""
        name = type(searcher).__name__
        space = searchers.own_space(searcher)
        for key in self.supplied:
            if nested.holds(space, key):
                raise InvalidValueError(
                    f"the space of {name} must not hold {key!r}, which "
                    f"GapSearch supplies, but got {nested.get(space, key)!r}: remove it there."
                )
            for point in searchers.own_points(searcher):
                if isinstance(point, Mapping) and nested.holds(point, key):
                    raise InvalidValueError(
                        f"points_to_evaluate of {name} must not hold {key!r}, which "
                        f"GapSearch supplies, but got {point!r}: remove it there."
                    )

    def check_lr(self, config: Mapping[str, Any], searcher: Searcher) -> None:
        """Raise ``InvalidValueError`` where there cannot be a learning rate to scale."""
        if self.lr is None:
            return
        if nested.holds(config, self.lr):
            value = nested.get(config, self.lr)
            if parse_spec_vars({self.lr: value})[1] or is_learning_rate(value):
                return
            raise InvalidValueError(
                f"{self.lr!r} in param_space must be a positive number or a range to search, "
                f"but got {value!r}."
            )
        # What other searchers, functions that define a space as they run, and choices of whole
        # mappings will say is unknown.
        chosen = isinstance(config.get(self.lr.partition("/")[0]), Domain)
        defined = callable(searchers.given_space(searcher))
        known = isinstance(searcher, OptunaSearch) and not defined and not chosen
        if known and not nested.holds(searchers.own_space(searcher), self.lr):
            raise InvalidValueError(
                f"param_space must hold {self.lr!r}, which GapSearch(lr=...) scales, "
                f"but got {sorted(config)}."
            )


def owned_keys(
    optimizer: type | None, momentum: str | None, beta2: str | None, lr: str | None
) -> OwnedKeys:
    """Return the keys to own: those named, else those of the optimizer's class.

    Raises:
        InvalidValueError: When names are empty, equal, or "gap".
        UnsupportedError: When gradient statistics do not give what is asked for.

    >>> import torch
    >>> owned_keys(torch.optim.AdamW, None, None, None).momentum
    'beta1'
    """
    derived = None if optimizer is None else _derived_arguments(optimizer)
    name = getattr(optimizer, "__name__", "")
    argument = next((a for a in _KEYS if a in (derived or ())), None)
    if derived is not None:
        if momentum is None and argument is None:
            raise UnsupportedError(
                "optimizer must be one whose momentum GAP can derive, such as SGD, Adam, AdamW or "
                f"Lion, but got {name}, of which it derives {list(derived) or 'nothing'}."
            )
        for key, needed in ((beta2, "betas[1]"), (lr, "lr")):
            if key is not None and needed not in derived:
                raise UnsupportedError(
                    f"{key!r} can be supplied where GAP derives {needed}, but got {name}, of which "
                    f"it derives {list(derived) or 'nothing'}."
                )
    key = momentum if momentum is not None else _KEYS[argument or "momentum"]
    name_of_key = str(key).rpartition("/")[2]
    by_name = name_of_key == "beta1" or beta2 is not None
    averages = by_name if derived is None else argument == "betas[0]"
    names = [key for key in (key, beta2, lr) if key is not None]
    if not all(isinstance(n, str) and n for n in names) or _clash(names):
        raise InvalidValueError(
            "momentum, beta2 and lr must be different keys of the configuration, none of them "
            f"in another or {keys.SECTION!r}, but got {names}."
        )
    return OwnedKeys(key, beta2, lr, averages)


def _clash(names: list[str]) -> bool:
    """Tell whether keys are equal, in each other, or gap_tune's section."""
    taken = any(keys.SECTION in name.split("/") for name in names)
    inside = any(a.startswith(f"{b}/") for a in names for b in names)
    return taken or inside or len(set(names)) < len(names)


def section_paths(momentum: nested.Path) -> list[nested.Path]:
    """Return where sections go: at the top and, where that is elsewhere, beside the momentum.

    The ``train_loop_config`` of a ``TorchTrainer`` is all that its workers see.
    """
    top = (keys.SECTION,)
    return [top] if len(momentum) == 1 else [top, (*momentum[:-1], keys.SECTION)]


def axes_of(config: Mapping[str, Any], searcher: Searcher) -> dict[str, Axis | None]:
    """Return the axes of ``param_space`` and of a searcher's own space, by path."""
    domains = {"/".join(map(str, path)): d for path, d in parse_spec_vars(dict(config))[1]}
    return {path: axis_of(d) for path, d in {**searchers.own_space(searcher), **domains}.items()}


def is_learning_rate(value: Any) -> bool:
    """Tell whether a value is a positive, finite number."""
    try:
        return not isinstance(value, (bool, str)) and 0.0 < float(value) < float("inf")
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return False


def _derived_arguments(optimizer: Any) -> tuple[str, ...]:
    if not isinstance(optimizer, type):
        raise UnsupportedError(
            "optimizer must be a class, such as torch.optim.AdamW, "
            f"but got {type(optimizer).__name__}."
        )
    family = family_of(optimizer)
    return () if family is None else family.derived_arguments
