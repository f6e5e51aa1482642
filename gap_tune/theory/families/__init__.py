"""THEORY_FAMILIES: what each optimizer maximises, under which budget, and who implements it.

Rows are the optimizers of Appendix C and of Tables 1-4 of "Optimizing Optimizers for Fast
Gradient-Based Learning". Every ``optimum`` is the derived one; ``note`` says where the paper
prints another.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gap_tune.errors import InvalidValueError
from gap_tune.theory.families.adaptive import ADAPTIVE
from gap_tune.theory.families.base import Family, Hyperparameter, Implementation, Update
from gap_tune.theory.families.dynamic import DYNAMIC
from gap_tune.theory.families.memoryless import MEMORYLESS

__all__ = [
    "THEORY_FAMILIES",
    "Family",
    "Hyperparameter",
    "Implementation",
    "Update",
    "family_of",
    "register",
]

THEORY_FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for family in (*MEMORYLESS, *DYNAMIC, *ADAPTIVE)}
)
_REGISTERED: dict[type, Family] = {}


def register(optimizer: type, *, like: str) -> None:
    """Tell the table that a class of your own updates weights as a family does.

    Then its momentum can be tuned. Call it in the process that trains, before ``attach``.

    Args:
        optimizer: The class; classes derived from it belong to the family too.
        like: The family's name, such as "AdamW" for an average of gradients that is divided by
            ``1 - beta1^t``, with the count of steps as ``state[parameter]["step"]``; or "SGD with
            momentum" for a sum of gradients.

    Raises:
        InvalidValueError: When there is no such family.

    >>> class MyAdam:
    ...     pass
    >>> register(MyAdam, like="AdamW")
    >>> family_of(MyAdam).name
    'AdamW'
    """
    if like not in THEORY_FAMILIES:
        raise InvalidValueError(f"like must be one of {list(THEORY_FAMILIES)}, but got {like!r}.")
    _REGISTERED[optimizer] = THEORY_FAMILIES[like]


def family_of(optimizer: object) -> Family | None:
    """Return the family of an optimizer, or None where the table has none for it.

    Args:
        optimizer: A torch or pytorch_optimizer optimizer, an instance of a subclass, or a class.
            Of an instance the settings count: ``SGD(nesterov=True)`` is Nesterov's method. Of
            several rows for one class the one with the most derived arguments is returned: SGD is
            momentum SGD even at momentum 0, since momentum can be switched on.

    >>> family_of(object) is None
    True
    """
    cls = optimizer if isinstance(optimizer, type) else type(optimizer)
    for ancestor in cls.__mro__:
        if ancestor in _REGISTERED:
            return _REGISTERED[ancestor]
    defaults = getattr(optimizer, "defaults", {}) if cls is not optimizer else {}
    fitting = [
        (-distance, len(family.derived_arguments), len(implementation.settings), family)
        for family in THEORY_FAMILIES.values()
        for implementation in family.implementations
        if (distance := implementation.distance(cls, defaults)) is not None
    ]
    return max(fitting, key=lambda entry: entry[:3])[3] if fitting else None
