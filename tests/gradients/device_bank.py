"""The filter bank of other devices, on the host, where no test needs a GPU."""

from __future__ import annotations

from gap_tune.gradients.banks.device import FilterBank
from gap_tune.gradients.banks.whitening import Whitening
from gap_tune.gradients.observer import GradientObserver
from gap_tune.gradients.reading import GradientReader


class DeviceObserver(GradientObserver):
    """An observer whose sums are tensors, as on a GPU."""

    def _make_bank(self, reader: GradientReader) -> FilterBank:
        costs = None
        if self.betas2 is not None:
            costs = Whitening(self.betas2, reader.weights, self._eps)
        return FilterBank(
            self.candidates,
            reader.size,
            self._lags,
            self._decay,
            device=reader.device,
            dtype=reader.dtype,
            whitening=costs,
        )
