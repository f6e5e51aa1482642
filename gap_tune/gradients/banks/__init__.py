"""Filter banks: the running sums that statistics are made of, on the host or on a device."""

from gap_tune.gradients.banks.base import Bank
from gap_tune.gradients.banks.making import make_bank

__all__ = ["Bank", "make_bank"]
