"""Answer: what the simulated studies say about GAP, in words, and what limits it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from gap_tune.formatting import plural
from gap_tune.panel.measures.standing import Standing, percent
from gap_tune.report.search_curve import SWEEP
from gap_tune.simulation.answers.curves import Curves
from gap_tune.simulation.answers.methods import FIFO, PBT, STOPPING, Method
from gap_tune.simulation.answers.reached import TIME, TRIALS, Reached, Speed
from gap_tune.simulation.answers.stopping import EarlyStopping, Judged
from gap_tune.simulation.answers.studies import Studies
from gap_tune.simulation.answers.wasting import Waste
from gap_tune.tune.spelling import GAP_NAME

Kind = Literal["gain", "as good", "no gain", "loss", "undecided"]
# Fewer make the bootstrap's intervals too narrow.
_FEW_SETTINGS = 8
_LEADS = {
    "gain": "Gain",
    "as good": "As good",
    "no gain": "No gain shown",
    "loss": "Loss",
    "undecided": "Undecided",
}


@dataclass(frozen=True)
class Against:
    """A method with GAP against the same searcher and scheduler without.

    Attributes:
        method: With GAP.
        rival: Without.
        end: Its test loss over the rival's, when all trials have ended.
        trials: What it takes to be as good as all of the rival's trials.
        time: The same in cluster time.
        by_trials: The first over what the rival takes itself.
        by_time: The second likewise.
    """

    method: str
    rival: str
    end: Standing
    trials: Reached
    time: Reached
    by_trials: Speed
    by_time: Speed

    @classmethod
    def of(cls, curves: Curves, method: str, rival: str) -> Against:
        """Compare two methods of the studies."""
        every = curves.studies.trials
        return cls(
            method,
            rival,
            curves.standing(method, rival),
            curves.to_match(method, rival, TRIALS, every),
            curves.to_match(method, rival, TIME, every),
            curves.speed(method, rival, TRIALS),
            curves.speed(method, rival, TIME),
        )

    @property
    def kind(self) -> Kind:
        """A gain where it is ahead at the end, or as good sooner by trials and by time.

        "loss" is the other way round; "undecided" is both, or a single setting; "as good" is
        neither, and within the margin at the end.
        """
        on_the_way = {self.by_trials.kind, self.by_time.kind}
        better = self.end.kind == "ahead" or on_the_way == {"sooner"}
        worse = self.end.kind == "behind" or on_the_way == {"later"}
        if self.end.kind == "undecided" or (better and worse) or on_the_way == {"sooner", "later"}:
            return "undecided"
        if better:
            return "gain"
        if worse:
            return "loss"
        return "as good" if self.end.kind == "as good" else "no gain"


@dataclass(frozen=True, eq=False)
class Answer:
    """What all studies say.

    Attributes:
        studies: The studies.
    """

    studies: Studies

    @cached_property
    def curves(self) -> Curves:
        """The search curves."""
        return Curves(self.studies)

    @cached_property
    def methods(self) -> list[Method]:
        """The methods."""
        return [Method.parse(name) for name in self.studies.methods]

    @cached_property
    def pairs(self) -> list[Against]:
        """GAP against the sweep, and against fixed momenta, by searcher and scheduler."""
        rivals = [method for method in self.methods if not method.has_gap]
        # Sweeps first, since they are what GAP is to replace.
        rivals.sort(key=lambda method: method.momentum != SWEEP)
        return [
            Against.of(self.curves, f"{GAP_NAME}+{'+'.join(rival.pair)}", rival.name)
            for rival in rivals
            if f"{GAP_NAME}+{'+'.join(rival.pair)}" in self.studies.methods
        ]

    @cached_property
    def stopping(self) -> list[EarlyStopping]:
        """What each stopping scheduler stops with GAP, and without."""
        return [
            EarlyStopping.of(
                (pair.method, pair.rival),
                self._judged(pair.method),
                self._judged(pair.rival),
                self.studies.seeds,
            )
            for pair in self.pairs
            if Method.parse(pair.method).scheduler in STOPPING
        ]

    def _judged(self, method: str) -> list[Sequence[Judged]]:
        return [self.studies.judged[setting, method] for setting in self.studies.settings]

    @cached_property
    def waste(self) -> list[Waste]:
        """What each sweep wastes."""
        sweeps = [m for m in self.methods if m.momentum == SWEEP and m.scheduler != PBT]
        names = [(m.name, f"{GAP_NAME}+{'+'.join(m.pair)}") for m in sweeps]
        known = self.studies.methods
        return [Waste.of(self.curves, name, gap if gap in known else "") for name, gap in names]

    @cached_property
    def populations(self) -> list[tuple[str, str, Standing]]:
        """Methods that train as much as population based training, that, and where they stand."""
        pbt = [m.name for m in self.methods if m.scheduler == PBT]
        others = [m.name for m in self.methods if m.scheduler == FIFO]
        return [
            (name, rival, self.curves.standing(name, rival)) for rival in pbt for name in others
        ]

    @property
    def rival(self) -> str:
        """What every method is asked to match: the first pair's rival, or the first method."""
        return self.pairs[0].rival if self.pairs else self.studies.methods[0]

    def worse(self, setting: str) -> list[float]:
        """Return the momenta that are significantly worse than a setting's best."""
        of = zip(self.studies.momenta[setting], self.studies.hindsight[setting].worse, strict=True)
        return [momentum for momentum, worse in of if worse]

    @property
    def kind(self) -> Kind:
        """Of the first pair."""
        return self.pairs[0].kind if self.pairs else "undecided"

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        if not self.pairs:
            return (
                "Nothing to compare: it takes GAP and a rival of the same searcher and scheduler."
            )
        pair, settings = self.pairs[0], plural(len(self.studies.settings), "setting")
        whole = self.curves.to_match(pair.rival, pair.rival, TIME, self.studies.trials).short
        if pair.trials.is_reached and pair.time.is_reached:
            said = (
                f"are as good as all of its trials after {pair.trials.short} trials and "
                f"{pair.time.short} of cluster time instead of {whole}"
            )
        else:
            said = f"are not as good as all of its trials, which take {whole} of cluster time"
        return (
            f"{_LEADS[pair.kind]}: {self.studies.trials} simulated trials of {pair.method} end at "
            f"{percent(pair.end.ratio)} test loss against {pair.rival} over {settings}, and {said}."
        )

    @property
    def sentences(self) -> tuple[str, ...]:
        """What it rests on and what limits it."""
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        for pair in self.pairs:
            yield (
                f"{pair.method} against {pair.rival}: {pair.end.text} test loss at the end, "
                f"{pair.end.said}; to be as good as all of its trials it takes "
                f"{pair.by_trials.taken('trials')}, and {pair.by_time.taken('cluster time')}."
            )
        for each in self.stopping:
            yield each.sentence
        first = self.pairs[0].method if self.pairs else ""
        for name, rival, place in self.populations:
            if name == first or Method.parse(name).searcher == Method.parse(rival).searcher:
                yield (
                    f"At equal cost, {plural(self.studies.trials, 'whole trial')} each, {name} is "
                    f"at {place.text} test loss against {rival}, {place.said}."
                )
        for waste in self.waste:
            yield waste.sentence
        if self.waste:
            yield (
                "Momenta are significantly worse by paired t tests at 5 % of test losses over the "
                "recorded seeds, each momentum at its best learning rate; few seeds show large "
                "differences only."
            )
        yield from self._limits()

    def _limits(self) -> Iterator[str]:
        studies = self.studies
        yield (
            f"The unit of evidence is the setting, {len(studies.settings)} in all with "
            f"{plural(studies.seeds, 'recorded seed')} each: intervals are a bootstrap of these. "
            f"{plural(studies.repeats, 'repeat')} of each study draw from the same recorded runs; "
            "they take out the luck of a searcher and are no independent tasks."
        )
        if 1 < len(studies.settings) < _FEW_SETTINGS:
            yield (
                f"{plural(len(studies.settings), 'setting')} are few for a bootstrap: its "
                "intervals are too narrow."
            )
        if len(self.pairs) > 1:
            yield (
                f"The answer is that of the first of {len(self.pairs)} comparisons, chosen before "
                "any was looked at; intervals are not corrected for their number."
            )
