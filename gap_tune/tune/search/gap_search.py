"""GapSearch: seeds trials with momentum, around any other searcher."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch
from ray.tune.search.variant_generator import parse_spec_vars

from gap_tune.control.trust_region import TrustRegion
from gap_tune.errors import StateError, UnsupportedError, check_count, check_range
from gap_tune.rules import AlignmentRule, MomentumRule
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.finite import first_non_finite, number_of
from gap_tune.tune.ray_private import naming, searchers
from gap_tune.tune.search.completing import Completing
from gap_tune.tune.search.moved_rates import MovedRates
from gap_tune.tune.search.named import SearcherSpec, searcher_of
from gap_tune.tune.search.owned import owned_keys
from gap_tune.tune.search.pairs import Pairs
from gap_tune.tune.search.saved import restore_chain, save_chain
from gap_tune.tune.search.seeds import Given, Seeder, read_given

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

    With ``baselines``, or several ``seeds``, a configuration makes several trials, handed out one
    after another: seed by seed, with GAP first, then one that holds each of these momenta. Their
    other hyperparameters are equal, ``config["gap"]["pair"]`` numbers the configuration, and
    ``config["seed"]`` counts from 0, or from the seed that the configuration or ``param_space``
    has. Learning rates that ``lr`` scales are the same at ``reference_momentum``; baselines keep
    theirs. The wrapped searcher is told of the GAP trial of the first seed alone, and nothing is
    learned from baselines. ``num_samples`` counts trials (``trials_of``); where nothing is
    searched, one configuration is all there is. A stopping scheduler judges each trial by itself.

    Without a ``GapScheduler`` nobody changes momentum while trials run: each keeps the one that it
    starts with, says so, and leaves its learning rate alone, unless ``trust_region`` is given.

    ``ConcurrencyLimiter`` and ``Repeater`` may be inside or around. A ``Repeater`` around it keeps
    reports to itself, so that seeds come from ``statistics`` or are the reference.

    Args:
        searcher: The searcher to wrap; or a name: "tpe", the default, is Optuna's TPE, which learns
            from the trials before, and "random" Optuna's random search, which does not (what
            ``lr`` does is done to its suggestions, too). ``{"name": "random", "seed": 7}`` suggests
            the same in every study.
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
        baselines: Momenta to compare GAP with on each configuration, such as ``(0.9,)``; default
            none.
        seeds: Seeds of each; default 1. More without baselines repeat GAP alone.
        baselines_share: Share of the configurations to compare, evenly spread, the first one
            among them; each of the others is one trial with GAP. Default 1, all.

    Raises:
        InvalidValueError: When a number or a setting is out of range, keys or baselines are equal,
            or a file cannot be read.
        StateError: When a file holds no statistics.
        UnsupportedError: When ``searcher``, ``rule`` or ``statistics`` is of another kind,
            ``optimizer`` has nothing of what is asked for that gradient statistics can give, or a
            ``Repeater`` inside would repeat what is compared.

    >>> import torch
    >>> search = GapSearch(optimizer=torch.optim.AdamW)
    >>> search.set_search_properties("loss", "min", {"lr": 1e-3})
    True
    >>> search.suggest("a trial")["beta1"]
    0.9
    """

    def __init__(
        self,
        searcher: SearcherSpec = None,
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
        baselines: Sequence[float] = (),
        seeds: int = 1,
        baselines_share: float = 1.0,
    ) -> None:
        inner = searcher_of(searcher)
        rule = AlignmentRule() if rule is None else rule
        if not isinstance(rule, MomentumRule):
            raise UnsupportedError(f"rule must be a MomentumRule, but got {type(rule).__name__}.")
        # Ray walks this attribute name to find wrapped searchers when it saves a study.
        self.searcher = inner
        super().__init__(metric=inner.metric, mode=inner.mode)
        self._owned = owned_keys(optimizer, momentum, beta2, lr)
        betas2 = sorted({check_range("betas2", b, 0, 1, high_open=True) for b in betas2})
        reference = check_range("reference_momentum", reference_momentum, 0, 1, high_open=True)
        self._complain = Complaints()
        self._rates = MovedRates(inner, self._owned.lr, trust_region, self._complain)
        given = read_given(statistics, several=beta2 is not None)
        self._seeder = Seeder(rule, reference, given, self._complain)
        self._pairs = Pairs(
            *(baselines, seeds, baselines_share),
            owned=self._owned,
            reference=reference,
            complain=self._complain,
        )
        self._pairs.check_searcher(inner)
        self._completing = Completing(
            *(self._owned, self._seeder, self._rates),
            reference=reference,
            betas2=betas2,
            seed_keys=self._pairs.seed_keys,
            complain=self._complain,
        )
        # What set_search_properties finds out; Ray does not call it when param_space is empty.
        self._prepared = False
        # OptunaSearch refuses to suggest from an empty space; then there is nothing to ask it.
        self._nothing_to_search = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Ray keeps the searcher itself in a study's tuner.pkl; one of before pairs has no parts.
        own = dict(state)
        if "_completing" not in own:
            reference, betas2 = own.pop("_reference"), own.pop("_betas2")
            shared = {"owned": own["_owned"], "complain": own["_complain"]}
            own["_pairs"] = Pairs((), 1, 1.0, reference=reference, **shared)
            own["_completing"] = completing = Completing(
                *(own["_owned"], own["_seeder"], own["_rates"]),
                reference=reference,
                betas2=betas2,
                seed_keys=(),
                complain=own["_complain"],
            )
            known = {name: own.pop(f"_{name}") for name in ("axes", "mode_of_all", "rule_of_all")}
            places = own.pop("_places").state()
            completing.load_state({**known, **own["_rates"].state(), "places": places})
        self.__dict__.update(own)

    def trials_of(self, configurations: int) -> int:
        """Return how many trials so many of the wrapped searcher's configurations make.

        >>> GapSearch(baselines=(0.5, 0.9), seeds=2).trials_of(10)
        60
        >>> GapSearch(baselines=(0.9,), seeds=3, baselines_share=0.25).trials_of(20)
        45
        """
        return self._pairs.trials_of(check_count("configurations", configurations, 0))

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
        self._completing.look_at(config)
        self._pairs.look_at(config, spec.get("num_samples"))
        domains = parse_spec_vars(config)[1]
        given = searchers.given_space(base)
        self._nothing_to_search = not domains and isinstance(base, OptunaSearch) and not given
        self._prepared = True
        if self._nothing_to_search:
            accepted = True
        else:
            accepted = self.searcher.set_search_properties(metric, mode, config, **spec)
            self._completing.look_at_axes(config, base)
        naming.unname(config, self._completing.places.sections())
        return bool(accepted) or not domains

    def suggest(self, trial_id: str) -> Any:
        """Return the wrapped searcher's configuration with GapSearch's own keys added."""
        if not self._prepared:
            self.set_search_properties(self.metric, self.mode, {})
        member = self._pairs.next(trial_id)
        if member is None:
            inner = {} if self._nothing_to_search else self.searcher.suggest(trial_id)
            if inner is None or inner == Searcher.FINISHED:
                return inner
            completed = self._completing.completed(trial_id, inner, self.metric, self.mode)
            member = self._pairs.begin(completed)
        return self._completing.configuration(trial_id, member)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Take the trial's first report into the seeds; pass finite results on."""
        self._contained("scale not used", self._rates.take, trial_id, result)
        self._contained("statistics not used", self._seeder.reports.take, trial_id, result)
        told = not self._nothing_to_search and not self._pairs.is_untold(trial_id)
        if told and first_non_finite(result, self.metric) is None:
            self._contained("result not used", self.searcher.on_trial_result, trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Tell the wrapped searcher; a result whose metric is not finite counts as an error."""
        self._seeder.reports.forget(trial_id)
        if result is not None and first_non_finite(result, self.metric) is not None:
            result, error = None, True
        value = None if error or result is None else number_of(result, self.metric)
        self._contained("scale not used", self._rates.finish, trial_id, value)
        told = not self._nothing_to_search and not self._pairs.is_untold(trial_id)
        self._pairs.end(trial_id)
        if not told:
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

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Forward to the wrapped searcher."""
        return bool(self.searcher.set_max_concurrency(max_concurrent))

    def add_evaluated_point(self, parameters: dict[str, Any], value: float, **kwargs: Any) -> None:
        """Forward to the wrapped searcher, without the keys that gap_tune owns."""
        inner = self._completing.places.as_searched(parameters)
        known = searchers.known_parameters(self.searcher, inner)
        self.searcher.add_evaluated_point(known, value, **kwargs)

    def get_state(self) -> dict[str, Any]:
        """Return this wrapper's own state; Ray saves the wrapped searcher by itself."""
        return {
            "version": _VERSION,
            "reports": self._seeder.reports.state(),
            "prepared": self._prepared,
            "nothing_to_search": self._nothing_to_search,
            **self._completing.state(),
            "pairs": self._pairs.state(),
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
        self._prepared = state["prepared"]
        self._nothing_to_search = state["nothing_to_search"]
        self._completing.load_state(state)
        self._pairs.load_state(state.get("pairs", {}))
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
