"""GapSearch: seeds trials with momentum, around any other searcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.variant_generator import parse_spec_vars

from gap_tune.control.trust_region import TrustRegion
from gap_tune.errors import StateError, UnsupportedError, check_range
from gap_tune.rules import AlignmentRule, MomentumRule
from gap_tune.tune import keys, nested
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.finite import first_non_finite
from gap_tune.tune.ray_private import naming, searchers
from gap_tune.tune.search.closeness import Axis, point_of
from gap_tune.tune.search.moved_rates import MovedRates
from gap_tune.tune.search.owned import axes_of, owned_keys
from gap_tune.tune.search.places import Places, rule_entry
from gap_tune.tune.search.saved import restore_chain, save_chain
from gap_tune.tune.search.seeds import REFERENCE_BETA2, Given, Seed, Seeder, read_given

_VERSION = 1


class GapSearch(Searcher):
    """Supplies momentum to trials; another searcher supplies everything else.

    The momentum that a trial starts with comes, in this order, from

    1. ``statistics``, such as the file that ``gap_tune.probe`` writes;
    2. the first reports of this study's trials (the first with five observed steps), weighted by
       how close their other hyperparameters are and by the steps they observed, each divided by
       its own gradient power, once ten observed steps are known nearby; the latest 256 are kept;
    3. ``reference_momentum``.

    A ``GapScheduler`` changes it while the trial runs. Each configuration gets a section
    ``config["gap"]``: the trial's mode, its reference momentum, and as ``seed_reason`` why it
    starts as it does. Other entries of such a section are kept, such as the rule that decides the
    trial, and the mode "trial", for optimizers that tune themselves. Ray's names of trials do not
    show it.

    Keys may be paths of nested configurations. A momentum "train_loop_config/momentum" is put
    where a ``TorchTrainer`` hands it to its workers, with the section beside it as well.

    A configuration of the wrapped searcher that already holds the momentum, or that says
    ``"gap": {"mode": "fixed"}`` because its optimizer has none, is a planned baseline: it stays as
    it is, and its trial is marked fixed, so that the scheduler leaves it alone.

    ``ConcurrencyLimiter`` and ``Repeater`` may be inside or around. A ``Repeater`` around it keeps
    reports to itself, so that seeds come from ``statistics`` or are the reference.

    Args:
        searcher: The searcher to wrap; default ``OptunaSearch()``.
        statistics: Gradient statistics of an earlier run: ``AlignmentStatistics``, a mapping of
            beta2 to several, or the path of a probe's file.
        rule: Chooses the seed from statistics; default ``AlignmentRule()``.
        optimizer: Class of the study's optimizer, which names the keys: "momentum" for SGD,
            "beta1" for Adam and its like, to be passed as ``betas=(config["beta1"], ...)``.
        momentum: The configuration key to supply; default that of ``optimizer``, or "momentum".
        beta2: Key of Adam's beta2 ("beta2"), to be searched together with beta1 (Cor. 6); default
            leaves it alone.
        betas2: Values of beta2 to compare then; trials find them as ``config["gap"]["betas2"]``.
        lr: Key of the learning rate ("lr"). The wrapped searcher then searches the one meant for
            ``reference_momentum`` and trials get what keeps its trust region at their own
            momentum; a learning rate that ``param_space`` fixes is scaled alike. What was searched
            is ``config["gap"]["searched_lr"]``. Default leaves it alone.
        reference_momentum: The momentum that the study's learning rates are meant for, in [0, 1).
            Coupled learning rates are exact there, and trials start there until more is known.
        trust_region: How the learning rates of tuned trials follow the agreement while they train
            (``gap_tune.TrustRegion``, or its settings as a mapping); ``TrustRegion.off()`` leaves
            them alone. None leaves it to a configuration's section, and to each trial's rule where
            that says nothing: they follow, but with the papers' rule. With ``lr``, later trials
            then start on the way to the learning rate that the best trial so far came to train
            with, in a narrow region. Optuna, which chooses the place around it, is told what was
            used; other searchers choose as without.

    Raises:
        InvalidValueError: When a number or a setting is out of range, keys are equal, or a file
            cannot be read.
        StateError: When a file holds no statistics.
        UnsupportedError: When ``searcher``, ``rule`` or ``statistics`` is of another kind, or
            ``optimizer`` has nothing of what is asked for that gradient statistics can give.

    >>> import torch
    >>> search = GapSearch(optimizer=torch.optim.AdamW)
    >>> search.set_search_properties("loss", "min", {"lr": 1e-3})
    True
    >>> search.suggest("a trial")["beta1"]
    0.9
    """

    def __init__(
        self,
        searcher: Searcher | None = None,
        *,
        statistics: Given = None,
        rule: MomentumRule | None = None,
        optimizer: type | None = None,
        momentum: str | None = None,
        beta2: str | None = None,
        betas2: Sequence[float] = (0.9, 0.99, 0.999),
        lr: str | None = None,
        reference_momentum: float = 0.9,
        trust_region: TrustRegion | Mapping[str, Any] | None = None,
    ) -> None:
        inner = OptunaSearch() if searcher is None else searcher
        if not isinstance(inner, Searcher):
            raise UnsupportedError(
                f"searcher must be a ray.tune.search.Searcher, but got {type(searcher).__name__}."
            )
        rule = AlignmentRule() if rule is None else rule
        if not isinstance(rule, MomentumRule):
            raise UnsupportedError(f"rule must be a MomentumRule, but got {type(rule).__name__}.")
        # Ray walks this attribute name to find wrapped searchers when it saves a study.
        self.searcher = inner
        super().__init__(metric=inner.metric, mode=inner.mode)
        self._owned = owned_keys(optimizer, momentum, beta2, lr)
        self._betas2 = sorted({check_range("betas2", b, 0, 1, high_open=True) for b in betas2})
        self._reference = check_range(
            "reference_momentum", reference_momentum, 0, 1, high_open=True
        )
        self._complain = Complaints()
        self._rates = MovedRates(inner, self._owned.lr, trust_region, self._complain)
        given = read_given(statistics, several=beta2 is not None)
        self._seeder = Seeder(rule, self._reference, given, self._complain)
        # What set_search_properties finds out; Ray does not call it when param_space is empty.
        self._prepared = False
        # OptunaSearch refuses to suggest from an empty space; then there is nothing to ask it.
        self._nothing_to_search = False
        self._axes: dict[str, Axis | None] = {}
        self._places = Places(self._owned)
        self._mode_of_all: str | None = None
        self._rule_of_all: Any = None

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Check the space, and pass it on.

        Raises:
            InvalidValueError: When ``config``, or the wrapped searcher, sets or searches a key
                that GapSearch supplies, or ``config`` holds a grid.
        """
        base = searchers.innermost(self.searcher)
        self._owned.check_space(config)
        self._owned.check_searcher(base)
        self._owned.check_lr(config, base)
        searchers.remember(self, metric or self.searcher.metric, mode or self.searcher.mode)
        self._rates.look_at(config)
        self._places = Places(self._owned, config)
        of_all = self._places.section(config)
        self._mode_of_all, rule = of_all.get("mode"), of_all.get(keys.RULE)
        region = of_all.get(keys.TRUST_REGION)
        # One that is searched comes with the suggestions.
        if region is not None and not parse_spec_vars({keys.TRUST_REGION: region})[1]:
            self._rates.set_region(region)
        # What is searched comes with the suggestions.
        self._rule_of_all = rule if isinstance(rule, (str, Mapping)) else None
        domains = parse_spec_vars(config)[1]
        given = searchers.given_space(base)
        self._nothing_to_search = not domains and isinstance(base, OptunaSearch) and not given
        self._prepared = True
        if self._nothing_to_search:
            accepted = True
        else:
            accepted = self.searcher.set_search_properties(metric, mode, config, **spec)
            self._axes = axes_of(config, base)
        naming.unname(config, self._places.sections())
        return bool(accepted) or not domains

    def suggest(self, trial_id: str) -> Any:
        """Return the wrapped searcher's configuration with GapSearch's own keys added."""
        if not self._prepared:
            self.set_search_properties(self.metric, self.mode, {})
        inner = {} if self._nothing_to_search else self.searcher.suggest(trial_id)
        if inner is None or inner == Searcher.FINISHED:
            return inner
        section = self._places.section(inner)
        mode = self._mode_of(inner, section.get("mode"))
        own = {**section, "mode": mode, "reference_momentum": self._reference}
        own |= {"metric": self.metric, **self._places.momentum_key(inner)}
        if mode == keys.MODE_FIXED:
            own["seed_reason"] = "planned baseline"
            references = (self._reference, REFERENCE_BETA2)
            return self._places.fill(inner, self._owned.missing(inner, references), own)
        own |= rule_entry(section.get(keys.RULE), self._rule_of_all)
        own = self._rates.with_region(own)
        point = point_of(self._places.without_sections(inner), self._axes)
        seed = self._seeder.seed(point)
        values: dict[str, Any] = {self._owned.momentum: seed.momentum}
        own["seed_reason"] = seed.reason
        if self._owned.beta2 is not None:
            values[self._owned.beta2] = seed.beta2
            own["betas2"] = self._betas2
        if self._owned.lr is not None:
            lr = self._rates.searched(trial_id, inner, own, self._axes, self.mode)
            if lr is not None:
                self._scale_lr(lr, seed, values, own)
                point = {**point, **point_of(self._rates.used(trial_id), self._axes)}
        self._seeder.reports.expect(trial_id, point, values.get(self._owned.beta2 or ""))
        return self._places.fill(inner, values, own)

    def _mode_of(self, inner: Mapping[str, Any], asked: Any) -> str:
        if any(nested.holds(inner, key) for key in self._owned.supplied):
            return keys.MODE_FIXED
        for mode in (asked, self._mode_of_all):
            if mode in keys.MODES:
                return str(mode)
            if mode is not None:
                self._complain(f"a trial's mode must be one of {keys.MODES}, but got {mode!r}.")
        return keys.MODE_SCHEDULER

    def _scale_lr(
        self, searched: float, seed: Seed, values: dict[str, Any], own: dict[str, Any]
    ) -> None:
        key = self._owned.lr or ""
        values[key] = self._owned.learning_rate(searched, seed.momentum, self._reference)
        # The scheduler's coupling goes on from the pair that the trial starts with.
        own |= {"reference_momentum": seed.momentum, "searched_lr": searched}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take the trial's first report into the seeds; pass finite results on."""
        self._contained("scale not used", self._rates.take, trial_id, result)
        self._contained("statistics not used", self._seeder.reports.take, trial_id, result)
        if not self._nothing_to_search and self._finite(result):
            self._contained("result not used", self.searcher.on_trial_result, trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the wrapped searcher; a result whose metric is not finite counts as an error."""
        self._seeder.reports.forget(trial_id)
        if result is not None and not self._finite(result):
            result, error = None, True
        value = None if error or result is None else self._value(result)
        self._contained("scale not used", self._rates.finish, trial_id, value)
        if self._nothing_to_search:
            return
        # What was suggested is not what was used: the searcher learns of the latter instead.
        if self._rates.tell_used(trial_id, value):
            result, error = None, True
        tell = self.searcher.on_trial_complete
        self._contained("end of trial not used", tell, trial_id, result=result, error=error)

    def _contained(self, what: str, function: Callable[..., Any], *args: Any, **kw: Any) -> bool:
        """Call a function, and tell whether it came to its end."""
        # An exception here would end the whole study.
        try:
            function(*args, **kw)
        except Exception as error:
            self._complain(f"{what}: {error!r:.300}")
            return False
        return True

    def _value(self, result: Mapping[str, Any]) -> float | None:
        """Return the study's metric in a result; None where there is not one metric of numbers."""
        value = nested.get(result, self.metric) if isinstance(self.metric, str) else None
        try:
            return None if isinstance(value, (bool, str, type(None))) else float(value)
        except (TypeError, ValueError, OverflowError, RuntimeError):
            return None

    def _finite(self, result: Mapping[str, Any]) -> bool:
        return first_non_finite(result, self.metric) is None

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Forward to the wrapped searcher."""
        return bool(self.searcher.set_max_concurrency(max_concurrent))

    def add_evaluated_point(self, parameters: dict[str, Any], value: float, **kwargs: Any) -> None:
        """Forward to the wrapped searcher, without the keys that gap_tune owns."""
        inner = self._places.as_searched(parameters)
        base = searchers.innermost(self.searcher)
        space = searchers.own_space(base) if isinstance(base, OptunaSearch) else {}
        if space and all(nested.holds(inner, key) for key in space):
            # Optuna knows hyperparameters by their paths, and nothing else.
            inner = {key: nested.get(inner, key) for key in space}
        self.searcher.add_evaluated_point(inner, value, **kwargs)

    def get_state(self) -> dict[str, Any]:
        """Return this wrapper's own state; Ray saves the wrapped searcher by itself."""
        return {
            "version": _VERSION,
            "reports": self._seeder.reports.state(),
            "prepared": self._prepared,
            "nothing_to_search": self._nothing_to_search,
            "axes": dict(self._axes),
            "mode_of_all": self._mode_of_all,
            "rule_of_all": self._rule_of_all,
            **self._rates.state(),
            "places": self._places.state(),
            "metric": self.metric,
            "mode": self.mode,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Continue from what ``get_state`` returned.

        Raises:
            StateError: When another version of gap_tune returned it.
        """
        if state.get("version") != _VERSION:
            raise StateError(
                f"the searcher's state must be of version {_VERSION}, "
                f"but got {state.get('version')!r}."
            )
        self._seeder.reports.load_state(state["reports"])
        for name in ("prepared", "nothing_to_search", "axes", "mode_of_all"):
            setattr(self, f"_{name}", state[name])
        # Studies that were saved before trials had rules of their own, or nested keys, have none.
        self._rule_of_all = state.get("rule_of_all")
        self._rates.load_state(state)
        self._places.load_state(state.get("places", {}))
        searchers.remember(self, state["metric"], state["mode"])

    def save(self, checkpoint_path: str) -> None:
        """Save the seeds and the wrapped searchers, all in one file."""
        save_chain(self, checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Continue from what ``save`` wrote.

        Raises:
            StateError: When the file is something else, or searchers are wrapped otherwise.
        """
        restore_chain(self, checkpoint_path)
