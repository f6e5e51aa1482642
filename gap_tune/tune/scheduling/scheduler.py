"""GapScheduler: changes momentum inside running trials, around any other trial scheduler."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from ray.tune.schedulers import TrialScheduler

from gap_tune.errors import GapTuneError, InvalidValueError
from gap_tune.formatting import plain
from gap_tune.rules import Decision, MomentumRule, get_rule
from gap_tune.tune import keys
from gap_tune.tune.complaints import Complaints
from gap_tune.tune.finite import first_non_finite
from gap_tune.tune.monitoring import latency
from gap_tune.tune.ray_private import delivery, watching
from gap_tune.tune.ray_private.results import checkpoint_metrics, last_result
from gap_tune.tune.scheduling import decision_log, siblings
from gap_tune.tune.scheduling.decider import Decider, whole
from gap_tune.tune.scheduling.settling import settle
from gap_tune.tune.scheduling.wrapping import SchedulerWrapper

logger = logging.getLogger(__name__)


class GapScheduler(SchedulerWrapper):
    """Changes momentum in running trials from the gradient statistics that they report.

    Everything else is the wrapped scheduler's: which trial runs, which is stopped. A trial is
    changed in place, while it waits in ``report()``: no pause, no restart, no checkpoint. Only
    trials whose configuration asks for it (``config["gap"]["mode"] == "scheduler"``, which
    ``GapSearch`` sets) are changed; others may run in the same study as baselines.

    The scheduler keeps no state: a decision depends on one result alone (with ``pool``, on its
    siblings' last results too), so nothing is lost when the driver is killed and the study
    restored. A trial that starts from a checkpoint is sent the decision on the report that the
    checkpoint came with, since its first answer was lost with the trial's process.

    Every decision is a line in ``decisions.jsonl`` of the experiment folder
    (``gap_tune.tune.read_decisions``), those of optimizers that tune themselves
    (``"mode": "trial"``) as their trials report them.

    A trial whose metric, or one of several, becomes NaN or infinite fails with that reason; the
    study goes on.

    Args:
        scheduler: The scheduler to wrap; default FIFO.
        rule: Chooses the momentum; default ``AlignmentRule()``. A trial whose configuration names
            a rule of its own (``config["gap"]["rule"]``, as of ``gap_tune.rules.get_rule``) is
            decided by that one, so that arms with different rules may run in one study. Whether
            learning rates follow the agreement is the rule's to say (``MomentumRule.scales_lr``)
            where a configuration does not.
        momentum: The configuration key of the momentum; a path ("train_loop_config/momentum")
            where configurations are nested. What ``GapSearch`` supplies is known without.
        min_steps: Optimizer steps between two changes of one trial's momentum.
        dead_band: Changes are not made when the longer of the two horizons ``1 / (1 - beta)``,
            old and new, exceeds the shorter by less than this share. The default 0 makes every
            change: deciding often did best over ten small tasks.
        pool: "siblings" merges the statistics of running trials whose configurations differ in
            the seed only, as long as they are within a factor of two in steps; None, the default,
            judges each trial by itself, which is all that a restart can repeat exactly.
        seed_key: The configuration key of the seed, for ``pool``.
        dry_run: Whether to log decisions only, and send none; learning rates stay, too, unless a
            configuration names a trust region.

    Raises:
        InvalidValueError: When ``min_steps`` is no positive integer, ``dead_band`` is negative or
            ``pool`` is unknown.
        UnsupportedError: When ``scheduler`` is no trial scheduler or one that cannot be wrapped,
            or ``rule`` is no ``MomentumRule``.

    >>> from ray.tune.schedulers import ASHAScheduler
    >>> GapScheduler(ASHAScheduler(metric="loss", mode="min")).metric
    'loss'
    """

    def __init__(
        self,
        scheduler: TrialScheduler | None = None,
        *,
        rule: MomentumRule | None = None,
        momentum: str = "momentum",
        min_steps: int = 1,
        dead_band: float = 0.0,
        pool: str | None = None,
        seed_key: str = "seed",
        dry_run: bool = False,
    ) -> None:
        super().__init__(scheduler)
        self._complain = Complaints()
        self._decider = Decider(rule, min_steps, dead_band, self._complain)
        self._key = momentum
        if pool not in (None, "siblings"):
            raise InvalidValueError(f"pool must be None or 'siblings', but got {pool!r}.")
        self._siblings = siblings.Siblings(seed_key, momentum) if pool else None
        self._dry_run = dry_run
        self._log = decision_log.DecisionLog()
        # Decisions on results in the making, by trial.
        self._made: dict[str, Decision] = {}
        # Trials that were told to fail, and have not started anew.
        self._failing: set[str] = set()

    @property
    def supports_buffered_results(self) -> bool:
        """False: with buffering, a report would return before the scheduler has seen it."""
        return False

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Forward to the wrapped scheduler; ask to be told when trials start and report."""
        resend = partial(self._on_trial_start, tune_controller)
        # Ray's private attributes may be others tomorrow; that must cost a decision, not the study.
        try:
            watched = watching.watch_trials(
                tune_controller, started=resend, reported=self._show_decision
            )
        except Exception as error:
            logger.debug("cannot watch trials", exc_info=error)
            watched = False
        if not watched:
            self._complain(
                "trials that restart miss one decision, and results do not show decisions: "
                "Ray does not say when trials start and report"
            )
        try:
            settle(trial.config, self._decider.rule, dry_run=self._dry_run)
        except Exception as error:
            self._complain("its learning rate may be others' or nobody's", trial, error)
        super().on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Ask the wrapped scheduler; on CONTINUE send the trial its new momentum."""
        arrived = time.perf_counter()
        failure = self._non_finite(trial, result)
        if failure is not None:
            return self._fail(trial, result, failure)
        action = super().on_trial_result(tune_controller, trial, result)
        # The last result comes twice, the second time with "done" from a trial that has ended.
        if action == TrialScheduler.CONTINUE and not result.get("done"):
            self._answer(tune_controller, trial, result)
            latency.note(trial.trial_id, time.perf_counter() - arrived)
        return action

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Forward to the wrapped scheduler, and clear up: trials may fail by the thousands."""
        self._clear(trial)
        super().on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Forward to the wrapped scheduler, and clear up."""
        self._forget(trial)
        super().on_trial_remove(tune_controller, trial)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Forward to the wrapped scheduler, and clear up."""
        self._forget(trial)
        super().on_trial_complete(tune_controller, trial, result)

    def debug_string(self) -> str:
        """Describe the rule and the wrapped scheduler."""
        return f"GapScheduler with {self._decider.rule!r} around: {super().debug_string()}"

    def decide(self, result: dict[str, Any], config: Mapping[str, Any] | None = None) -> Decision:
        """Return the decision that a result by itself leads to.

        Args:
            result: The flattened result, with the ``gap/`` keys that a trial's session reports.
            config: The trial's configuration, which may name a rule of its own; without one the
                scheduler's decides.

        Raises:
            InvalidValueError: When the reported momentum is no momentum, or the named rule is
                unknown.
            StateError: When a key is missing, or the reported statistics are malformed.
            UnsupportedError: When the rule cannot be imported, or returns no ``Decision``.
        """
        return self._decider.decide(result, rule=_rule_of(keys.section(config)))

    def _answer(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Decide, send and log what a result calls for; never raise: it would end the study."""
        decision = None
        try:
            own = keys.section(trial.config)
            mode = own.get("mode")
            if mode == keys.MODE_SCHEDULER and keys.STATISTICS in result:
                decision = self._try(tune_controller, trial, own, result)
                if decision is not None and not self._dry_run:
                    self._made[trial.trial_id] = decision
            elif mode == keys.MODE_TRIAL:
                start = {keys.MOMENTUM: keys.momentum_of(trial.config, self._key)}
                before = {**start, **last_result(trial)}
                line = decision_log.reported(trial, result, before)
                if line is not None:
                    self._log.write(trial, line)
            elif mode is None and keys.STATISTICS in result:
                self._complain(
                    f"trials report gradient statistics, but their configuration does not ask for "
                    f"tuning, so {self._key!r} stays as it is: use GapSearch, or put "
                    f'"gap": {{"mode": "scheduler"}} into param_space.'
                )
            self._send(trial, result, None if self._dry_run else decision, trains=True)
        except Exception as error:
            self._complain("a trial was not answered", trial, error)

    def _try(
        self, tune_controller: Any, trial: Any, own: Mapping[str, Any], result: dict[str, Any]
    ) -> Decision | None:
        """Decide and log; where nothing can be decided, a user's rule included, log that."""
        try:
            seq = whole(result, keys.SEQ) + 1
            others = self._siblings_of(tune_controller, trial)
            decision = self._decider.decide(result, others, _rule_of(own))
            line = decision_log.scheduled(trial, result, decision, seq=seq, dry_run=self._dry_run)
        except Exception as error:
            self._complain("no decision", trial, error)
            why = str(error) if isinstance(error, GapTuneError) else repr(error)
            line = decision_log.failed(trial, result, why, dry_run=self._dry_run)
            decision = None
        self._log.write(trial, line)
        return decision

    def _show_decision(self, trial: Any, result: dict[str, Any]) -> None:
        """Put the decision on a result into it, for loggers and whoever reads them."""
        decision = self._made.pop(trial.trial_id, None)
        if decision is not None:
            result[keys.DECISION] = decision.explanation
            result[keys.REASON] = str(decision.reason)

    def _send(
        self, trial: Any, result: dict[str, Any], decision: Decision | None, *, trains: bool = False
    ) -> None:
        """Send a decision that changes something: most do not, and a message costs both sides."""
        if decision is not None and not decision.changed:
            decision = None
        mailbox = result.get(keys.MAILBOX)
        # A trial that asks by mailbox waits until it is answered.
        if decision is not None or mailbox is not None:
            directive = delivery.Directive(whole(result, keys.SEQ) + 1, decision)
            delivery.send(trial, directive, mailbox=mailbox, trains=trains)

    def _on_trial_start(self, tune_controller: Any, trial: Any) -> None:
        """Send what a trial's process took with it when it died, or missed when it paused."""
        self._failing.discard(trial.trial_id)
        try:
            own = keys.section(trial.config)
            if self._dry_run or own.get("mode") != keys.MODE_SCHEDULER:
                return
            result = checkpoint_metrics(trial) or {}
            if keys.STATISTICS in result:
                decision = self._try(tune_controller, trial, own, result)
                if decision is not None:
                    self._send(trial, result, decision)
        except Exception as error:
            self._complain("a decision was not sent again", trial, error)

    def _siblings_of(self, tune_controller: Any, trial: Any) -> list[Any]:
        if self._siblings is None:
            return []
        return self._siblings.of(trial, tune_controller.get_trials())

    def _non_finite(self, trial: Any, result: dict[str, Any]) -> str | None:
        try:
            # Where TuneConfig names no metric, as with several, the searcher does.
            metrics, own = self._judged, keys.section(trial.config).get("metric")
            if own != metrics:
                names = (*keys.metric_names(metrics), *keys.metric_names(own))
                metrics = tuple(dict.fromkeys(names))
            return first_non_finite(result, metrics)
        except Exception as error:
            self._complain("a result's metrics were not judged", trial, error)
            return None

    def _fail(self, trial: Any, result: dict[str, Any], failure: str) -> str:
        logger.warning("Trial %s fails: %s", trial.trial_id, plain(failure))
        told = False
        # It is told once; a trial that goes on, as workers without a mailbox do, has not heard it.
        if keys.SEQ in result and trial.trial_id not in self._failing:
            self._failing.add(trial.trial_id)
            try:
                directive = delivery.Directive(seq=0, failure=failure)
                told = delivery.send(trial, directive, mailbox=result.get(keys.MAILBOX))
            except Exception as error:
                self._complain("a trial cannot be told that it fails", trial, error)
        # Without a session in the trial nothing can raise there: stopping is all there is.
        action: str = TrialScheduler.CONTINUE if told else TrialScheduler.STOP
        return action

    def _clear(self, trial: Any) -> None:
        self._log.close(trial)
        self._made.pop(trial.trial_id, None)
        self._failing.discard(trial.trial_id)
        latency.take(trial.trial_id)
        if self._siblings is not None:
            self._siblings.forget(trial)

    def _forget(self, trial: Any) -> None:
        self._clear(trial)
        # A trial that failed keeps its mailbox: tried again, it looks for the answer it was sent.
        try:
            mailbox = last_result(trial).get(keys.MAILBOX)
            if mailbox is not None:
                delivery.clear(mailbox)
        except Exception as error:
            self._complain("a mailbox was not cleared", trial, error)


def _rule_of(own: Mapping[str, Any]) -> MomentumRule | None:
    """Return the rule that a section names, if it names one."""
    named = own.get(keys.RULE)
    return None if named is None else get_rule(named)
