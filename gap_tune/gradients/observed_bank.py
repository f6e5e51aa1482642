"""ObservedBank: a filter bank over the parameters that train, and what is saved of it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gap_tune.errors import StateError, check_count, check_range
from gap_tune.gradients.banks import Bank, make_bank
from gap_tune.gradients.carrying import carried
from gap_tune.gradients.observed_set import ObservedSet
from gap_tune.gradients.reading import GradientReader
from gap_tune.gradients.sampling import DEFAULT_SAMPLE
from gap_tune.gradients.statistics import check_candidates

_VERSION = 3
# Version 2 does not say which parameters were observed: they are those that train by now.
_VERSIONS = (2, _VERSION)
_NOTHING: dict[str, Any] = {"positions": [], "shapes": []}
# Gradients that wait for the bank, at most, and coordinates in all of them. Right after a step
# the caches hold weights: a first pass through the bank is slow, those that follow it are fast.
_WAITING, _WAITING_COORDINATES = 16, 16 * DEFAULT_SAMPLE


class ObservedBank:
    """A filter bank, kept as parameters begin to train, come and go, and through checkpoints.

    ``GradientObserver`` puts gradients in and reads statistics out; arguments, attributes and
    errors are described there. Gradients wait for the bank a while: whoever uses it calls
    ``_take_in`` first.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        *,
        candidates: Sequence[float],
        sample: int | None,
        decay: float,
        lags: int,
        every: int,
        whitening: Sequence[float] | None,
        eps: float,
    ) -> None:
        self.candidates = check_candidates(candidates)
        self.betas2 = None if whitening is None else check_candidates(whitening)
        self.calls = 0
        self._lags = check_count("lags", lags)
        self._every = check_count("every", every)
        self._decay = check_range("decay", decay, 0.0, 1.0, low_open=True)
        self._eps = check_range("eps", eps, 0.0, 1.0)
        self._sample = sample
        self._pending: list[tuple[Tensor, Tensor | None, bool, Tensor | None]] = []
        self._observed = ObservedSet(parameters)
        self._start(self._reader_of(self._observed))

    def _reader_of(self, observed: ObservedSet) -> GradientReader:
        return GradientReader(observed.parameters, self._sample, observed.every)

    def _start(self, reader: GradientReader) -> None:
        """Begin with an empty bank for what a reader reads."""
        self.reader = reader
        self._bank = self._make_bank(reader)
        self._pending.clear()
        self._rows: list[Tensor] = []
        self._weighed = reader.empty()
        self._block = min(_WAITING, max(1, _WAITING_COORDINATES // max(1, reader.size)))

    def _make_bank(self, reader: GradientReader) -> Bank:
        return make_bank(
            self.candidates,
            self._lags,
            self._decay,
            weights=reader.weights,
            betas2=self.betas2,
            eps=self._eps,
        )

    def _free_row(self) -> Tensor:
        """Return where to gather the next gradient."""
        place = len(self._pending)
        if place == len(self._rows):
            self._rows.append(self.reader.empty())
        return self._rows[place]

    def _put(self, row: Tensor, usable: Tensor | None, present: Tensor | None) -> None:
        """Count a step, and let its gradient wait for the bank."""
        self.calls += 1
        self._pending.append((row, usable, self.calls % self._every == 0, present))
        if len(self._pending) == self._block:
            self._take_in()

    @torch.no_grad()
    def _take_in(self) -> None:
        """Let the bank observe the gradients that wait for it, in their order."""
        for gathered, usable, score, present in self._pending:
            gradient = self.reader.weigh(gathered, self._weighed)
            self._bank.observe(gradient, usable=usable, score=score, present=present)
        self._pending.clear()

    def follow(self, parameters: Sequence[Tensor] | None = None) -> None:
        """Observe what trains by now, as ``observe`` does first; arguments as there."""
        if not self._observed.follow(parameters) and not self.reader.moved():
            return
        self._take_in()
        state, old = self._bank.state_dict(), self.reader
        self._start(self._reader_of(self._observed))
        self._bank.load_state_dict(carried(state, old, self.reader))

    def compare(self, candidates: Sequence[float]) -> None:
        """Compare other candidates from now on; forgets all gradients.

        Raises:
            InvalidValueError: When they do not increase within [0, 1).
        """
        self.candidates = check_candidates(candidates)
        self.start_anew()

    def start_anew(self) -> None:
        """Forget all gradients."""
        self._start(self._reader_of(self._observed))
        self.calls = 0

    def state_dict(self) -> dict[str, Any]:
        """Return everything that continuing needs, as tensors and plain values."""
        self._take_in()
        return {
            "version": _VERSION,
            "shape": self._shape(self.reader),
            "observed": self._observed.layout(),
            "calls": self.calls,
            "bank": self._bank.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that ``state_dict`` returned, whatever is frozen now.

        The parameters that were observed then are observed again. Statistics of other parameters,
        candidates, lags or values of beta2 are of no use here: they start anew, with a warning
        that says what differs.

        Raises:
            StateError: When it is no such state, or one of another version; nothing is changed.
        """
        if difference := self.difference(state):
            self.start_anew()
            warn_of_new_start(difference)
            return
        observed = self._saved_set(state)
        if observed.positions == self._observed.positions:
            self._bank.load_state_dict(state["bank"])
            self._pending.clear()
        else:
            reader = self._reader_of(observed)
            bank = self._make_bank(reader)
            bank.load_state_dict(state["bank"])
            self._start(reader)
            self._observed, self._bank = observed, bank
        self.calls = state["calls"]

    def difference(self, state: Mapping[str, Any]) -> str:
        """Return why a state's statistics cannot be continued here; "" where they can.

        Raises:
            StateError: When it is no state of this version.
        """
        _check_form(state)
        if misfit := self._observed.misfit(state.get("observed", _NOTHING)):
            return misfit
        mine, saved = self._shape(self._reader_of(self._saved_set(state))), state["shape"]
        differing = [name for name in mine if mine[name] != saved.get(name)]
        return ", ".join(f"{name} {saved.get(name)}, but here {mine[name]}" for name in differing)

    def _saved_set(self, state: Mapping[str, Any]) -> ObservedSet:
        return self._observed.having(state["observed"]) if "observed" in state else self._observed

    def _shape(self, reader: GradientReader) -> dict[str, Any]:
        return {
            "candidates": list(self.candidates),
            "whitening": None if self.betas2 is None else list(self.betas2),
            "lags": self._lags,
            "dimension": reader.dimension,
            "sampled": reader.size,
        }


def warn_of_new_start(difference: str) -> None:
    """Tell the user once that gradient statistics could not be continued."""
    warnings.warn(
        "gap_tune's gradient statistics start anew, since the saved ones are of "
        f"{difference}; everything else continues.",
        stacklevel=3,
    )


def _check_form(state: Mapping[str, Any]) -> None:
    version = state.get("version") if isinstance(state, Mapping) else type(state).__name__
    if version not in _VERSIONS:
        raise StateError(
            f"the statistics' state must be of version {_VERSION}, but got {version!r}."
        )
    missing = sorted({"shape", "calls", "bank"} - state.keys())
    if missing:
        raise StateError(
            f"the statistics' state must hold shape, calls and bank, but lacks {missing}."
        )
