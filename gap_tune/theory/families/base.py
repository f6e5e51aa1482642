"""What a row of the table of optimizers holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

# As a setting of an implementation: any value that switches the argument on.
SWITCHED_ON = "> 0"


class Update(StrEnum):
    """How the step of a family's implementations depends on their momentum ``beta``.

    Attributes:
        MEMORYLESS: Not at all.
        SUM: ``lr sum_n beta^n g[t-n]``: the step grows as ``1 / (1 - beta)``.
        AVERAGE: ``lr (1-beta) sum_n beta^n g[t-n]``, or with a weight that is right whatever beta
            was at earlier steps.
        CORRECTED_AVERAGE: The average divided by ``1 - beta^t``, which is its total weight only
            as long as beta never changes.
        FIXED_SIZE: The step's size is the learning rate's alone: a sign, or a normalised sum.
    """

    MEMORYLESS = "memoryless"
    SUM = "sum"
    AVERAGE = "average"
    CORRECTED_AVERAGE = "corrected average"
    FIXED_SIZE = "fixed size"


@dataclass(frozen=True)
class Hyperparameter:
    """One hyperparameter of a family.

    Attributes:
        symbol: As in the formulas of the table, such as "beta1".
        argument: The implementations' argument, such as "betas[0]"; empty where there is none.
        derived_by: Function of ``gap_tune.theory`` that gives its optimum; empty for those that
            the theory leaves free, such as eps or weight decay.
    """

    symbol: str
    argument: str = ""
    derived_by: str = ""


@dataclass(frozen=True)
class Implementation:
    """An optimizer class that belongs to a family.

    Attributes:
        path: Import path, ``torch.optim.X`` or ``pytorch_optimizer.X``.
        settings: Constructor arguments, with their values, that make it this family;
            ``SWITCHED_ON`` is any value that does.
    """

    path: str
    settings: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))

    def __str__(self) -> str:
        arguments = ", ".join(
            f"{name} {value}" if value is SWITCHED_ON else f"{name}={value!r}"
            for name, value in self.settings.items()
        )
        return f"{self.path}({arguments})" if arguments else self.path

    def distance(self, cls: type, defaults: Mapping[str, object]) -> int | None:
        """Return how far up the ancestry of ``cls`` this class is, None where it is not.

        Args:
            cls: An optimizer class.
            defaults: The settings of the instance, as torch keeps them in ``defaults``.
        """
        package, _, rest = self.path.partition(".")
        name = rest.rpartition(".")[2]
        if not all(_fits(defaults.get(name), value) for name, value in self.settings.items()):
            return None
        for steps, ancestor in enumerate(cls.__mro__):
            if ancestor.__name__ == name and ancestor.__module__.partition(".")[0] == package:
                return steps
        return None


def _fits(present: object, wanted: object) -> bool:
    return bool(present) if wanted is SWITCHED_ON else present == wanted


@dataclass(frozen=True)
class Family:
    """A row of the table of optimizers: the maximiser of a budget over a cone of operators.

    All fields are plain text that fits a terminal table; formulas use ``beta``, ``eta``, ``B``.

    Attributes:
        name: Unique name.
        budget: The convex set that bounds the operator Q or the step.
        cone: The family of operators that the optimizer can express.
        equalizer: The operator Q, or the step where the family has none.
        moment: Which gradient statistic it needs.
        optimum: Closed form of the best hyperparameters, as derived.
        hyperparameters: All of them, with those that the theory derives marked.
        implementations: Classes of torch or pytorch_optimizer; empty where none is known.
        source: Corollary or table of "Optimizing Optimizers for Fast Gradient-Based Learning".
        note: Where the printed formula differs from the derived one, or what the row leaves out.
        update: How the implementations' step depends on momentum: what must follow when it changes.

    >>> from gap_tune.theory import THEORY_FAMILIES
    >>> THEORY_FAMILIES["SGD with momentum"].optimum
    'beta* = argmax sqrt(1-beta^2) sum_n beta^n S[n]; lr* = sqrt(B (1-beta*^2) / d)'
    >>> THEORY_FAMILIES["Adam"].derived_arguments
    ('lr', 'betas[0]', 'betas[1]')
    """

    name: str
    budget: str
    cone: str
    equalizer: str
    moment: str
    optimum: str
    hyperparameters: tuple[Hyperparameter, ...]
    implementations: tuple[Implementation, ...]
    source: str
    note: str = ""
    update: Update = Update.MEMORYLESS

    @property
    def derived_arguments(self) -> tuple[str, ...]:
        """Arguments of the implementations that GAP can derive from gradient statistics."""
        return tuple(h.argument for h in self.hyperparameters if h.derived_by and h.argument)


RATE = Hyperparameter("eta", "lr", "optimal_learning_rate")
MOMENTUM = Hyperparameter("beta", "momentum", "optimal_momentum")
DECAY = Hyperparameter("weight decay", "weight_decay")
EPS = Hyperparameter("eps", "eps")

# What momentum SGD measures, and the momentum that this makes best: others' as well.
ALL_LAGS = "training, all lags"
BEST_MOMENTUM = "beta* = argmax sqrt(1-beta^2) sum_n beta^n S[n]"


def torch_class(name: str, **settings: object) -> Implementation:
    """Return the implementation ``torch.optim.<name>`` with these settings."""
    return Implementation(f"torch.optim.{name}", MappingProxyType(settings))


def third_party(name: str, **settings: object) -> Implementation:
    """Return the implementation ``pytorch_optimizer.<name>`` with these settings."""
    return Implementation(f"pytorch_optimizer.{name}", MappingProxyType(settings))
