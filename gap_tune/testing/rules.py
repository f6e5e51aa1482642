"""RuleContract: what schedulers, optimizers and studies expect of any rule."""

from __future__ import annotations

import copy
import json
import math
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from gap_tune.errors import GapTuneError
from gap_tune.gradients.statistics import AlignmentStatistics
from gap_tune.rules import Decision, MomentumRule, Reason, describe_rule, get_rule
from gap_tune.testing.statistics import make_statistics

_MOMENTA = (0.0, 0.3, 0.9, 0.995)


class RuleContract:
    """Tests of a rule: purity, limits, odd statistics, pickles and plain JSON.

    Inherit it in a class that pytest collects, and write ``rule``.

    Attributes:
        candidates: Momentum values of the statistics that the rule is asked about.
        low: Smallest momentum that it decides on.
        high: Largest momentum that it decides on.
        may_keep_what_is_outside: Whether a momentum outside [low, high] may stay as it is.

    >>> from gap_tune import AlignmentRule
    >>> class TestCautiousRule(RuleContract):
    ...     low, high = 0.5, 0.95
    ...     def rule(self):
    ...         return AlignmentRule(hysteresis=0.1, low=0.5, high=0.95)
    >>> TestCautiousRule().test_momentum_stays_within_the_limits()
    """

    candidates: Sequence[float] = (0.0, 0.5, 0.9, 0.99)
    low: float = 0.0
    high: float = 1.0
    may_keep_what_is_outside: bool = False

    def rule(self) -> MomentumRule:
        """Return the rule; always with the same options."""
        raise NotImplementedError("rule() must return a MomentumRule, but is not written.")

    def situations(self) -> Iterator[tuple[AlignmentStatistics, float]]:
        """Yield statistics of any kind with a momentum in use, as a trial may send them."""
        for statistics in self.kinds_of_statistics():
            for momentum in (*_MOMENTA, *self.candidates):
                yield statistics, momentum

    def kinds_of_statistics(self) -> list[AlignmentStatistics]:
        """Return statistics of few steps, of zero and huge gradients, aligned and against."""
        count = len(self.candidates)
        rising = tuple(float(i + 1) for i in range(count))
        against = tuple(-value for value in rising)
        sums: list[dict[str, Any]] = [
            {"alignment": rising},
            {"alignment": rising[::-1]},
            {"alignment": against},
            {"alignment": (0.0,) * count},
            {"alignment": rising, "autocorrelation": (1e3, 1.0)},
            {"alignment": (1e200,) * count, "autocorrelation": (1e200, 1e200)},
            {"alignment": (1e-200,) * count, "autocorrelation": (1e-200, 0.0)},
            {"alignment": rising, "validation_alignment": against, "validation_weight": 2.0},
            {"alignment": rising, "whitening": 40.0},
            {"alignment": rising, "skipped_steps": 7},
        ]
        nothing: dict[str, Any] = {"weight": 0.0, "autocorrelation": (0.0, 0.0)}
        zeros: dict[str, Any] = {"alignment": (0.0,) * count, "autocorrelation": (0.0, 0.0)}
        return [
            *(
                make_statistics(self.candidates, steps=steps, **fields)
                for fields in (*sums, zeros)
                for steps in (1, 3, 50, 10**6)
            ),
            make_statistics(self.candidates, steps=0, **zeros | nothing),
            make_statistics(self.candidates, steps=0, skipped_steps=9, **zeros | nothing),
            make_statistics(self.candidates[:1], alignment=(2.0,)),
        ]

    def test_the_same_question_has_the_same_answer(self) -> None:
        """Whatever was asked in between, and of whichever copy."""
        rule, other = self.rule(), self.rule()
        first = [rule.decide(*situation) for situation in self.situations()]
        assert [rule.decide(*situation) for situation in self.situations()] == first
        backward = [other.decide(*situation) for situation in list(self.situations())[::-1]]
        assert backward[::-1] == first

    def test_neither_statistics_nor_the_rule_are_changed(self) -> None:
        """A rule holds no state, and statistics belong to who asks."""
        rule = self.rule()
        before = copy.deepcopy(vars(rule)) if hasattr(rule, "__dict__") else {}
        for statistics, momentum in self.situations():
            asked = copy.deepcopy(statistics)
            rule.decide(statistics, momentum)
            assert statistics == asked
        assert (vars(rule) if hasattr(rule, "__dict__") else {}) == before

    def test_momentum_stays_within_the_limits(self) -> None:
        """Of the rule, and of what an optimizer takes: finite, at least 0 and below 1."""
        rule = self.rule()
        for statistics, momentum in self.situations():
            decision = rule.decide(statistics, momentum)
            kept = self.may_keep_what_is_outside and decision.momentum == momentum
            assert kept or self.low <= decision.momentum <= self.high
            assert 0.0 <= decision.momentum < 1.0

    def test_a_decision_says_what_was_compared_and_why(self) -> None:
        """Reports and dashboards show its fields as they are."""
        rule = self.rule()
        for statistics, momentum in self.situations():
            decision = rule.decide(statistics, momentum)
            assert isinstance(decision, Decision)
            assert type(decision.momentum) is float
            assert decision.previous == momentum
            assert decision.reason in list(Reason)
            assert decision.reason != Reason.ERROR
            assert decision.explanation.endswith(".")
            assert "\n" not in decision.explanation
            assert len(decision.candidates) == len(decision.gains)
            assert set(decision.candidates) <= set(statistics.candidates)
            assert all(map(math.isfinite, decision.gains))
            json.dumps([decision.candidates, decision.gains, decision.explanation])

    @pytest.mark.parametrize("value", [math.nan, math.inf])
    @pytest.mark.parametrize("name", ["alignment", "autocorrelation", "weight"])
    def test_numbers_that_are_not_finite_are_refused_and_never_decided_on(
        self, name: str, value: float
    ) -> None:
        """Checked statistics cannot hold them; those that no one checked must not slip through."""
        whole = make_statistics(self.candidates)
        now = getattr(whole, name)
        odd = (value, *now[1:]) if isinstance(now, tuple) else value
        statistics = AlignmentStatistics.trusted(**{**vars(whole), name: odd})
        try:
            decision = self.rule().decide(statistics, 0.9)
        except (GapTuneError, ArithmeticError, ValueError):
            return
        assert 0.0 <= decision.momentum < 1.0
        assert all(map(math.isfinite, decision.gains))

    def test_it_pickles(self) -> None:
        """Trials run in other processes."""
        rule = self.rule()
        copied = pickle.loads(pickle.dumps(rule))  # nosec B301
        assert type(copied) is type(rule)
        for situation in self.situations():
            assert copied.decide(*situation) == rule.decide(*situation)

    def test_it_can_be_written_as_plain_json_and_made_again(self) -> None:
        """A trial's configuration names its rule, and whoever reads it makes the same one."""
        rule = self.rule()
        spec = describe_rule(rule)
        again = get_rule(json.loads(json.dumps(spec)))
        assert type(again) is type(rule)
        assert describe_rule(again) == spec
        for situation in self.situations():
            assert again.decide(*situation) == rule.decide(*situation)
