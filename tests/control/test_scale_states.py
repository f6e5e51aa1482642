"""The scale's state where numbers of a device are still on their way."""

from __future__ import annotations

import torch

from gap_tune.control import ScaleControl, TrustRegion
from gap_tune.control.scale import LATE_STEPS
from gap_tune.gradients.observer import GradientObserver


class OfADevice(ScaleControl):
    """Its products come as a device's do: as tensors, of a few steps ago."""

    def feed(self, *products: float) -> None:
        for product in products:
            self.product = torch.tensor([product, product])
            self.follow(0.9)

    def _products(self, momenta: object) -> torch.Tensor:
        return self.product


def control(region: TrustRegion | None = None, *, measures: bool = False) -> OfADevice:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1, momentum=0.9)
    observer = GradientObserver(optimizer.param_groups[0]["params"])
    return OfADevice(region or TrustRegion(), [observer], optimizer, measures=measures)


def test_what_is_on_its_way_goes_on_after_a_resume() -> None:
    whole, before, after = control(), control(), control()
    whole.feed(1.0, 1.0, -1.0, 2.0, 1.0, 3.0)
    before.feed(1.0, 1.0, -1.0, 2.0, 1.0)
    assert before.steps == 5 - LATE_STEPS
    after.load_state_dict(before.state_dict())
    after.feed(3.0)
    assert after.state_dict()["late"] == [[2.0] * 2, [1.0] * 2, [3.0] * 2]
    assert (after.scale, after.agreement, after.steps) == (whole.scale, whole.agreement, 3)


def test_a_run_that_had_no_control_starts_as_a_new_one() -> None:
    fresh, used = control(), control()
    used.feed(1.0, 1.0, -1.0, 2.0, 1.0)
    used.load_state_dict({})
    assert (used.scale, used.steps, used.agreement) == (fresh.scale, 0, 0.0)
    for each in (fresh, used):
        each.feed(1.0, 2.0, -1.0, 1.0)
    assert used.scale == fresh.scale


def test_where_only_the_agreement_is_measured_no_scale_is_saved() -> None:
    measured = control(TrustRegion.off(), measures=True)
    measured.feed(1.0, 1.0, 1.0, 1.0)
    assert (measured.scale, measured.agreement) == (1.0, 1.0)
    assert "log_scale" not in measured.state_dict()
