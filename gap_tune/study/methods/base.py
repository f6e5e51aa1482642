"""SearchMethod: what a way to search an arm's hyperparameters has to say of itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ray.tune.schedulers import TrialScheduler

from gap_tune.errors import InvalidValueError, check_count
from gap_tune.training.families.table import get_family

if TYPE_CHECKING:
    from gap_tune.study.arms import Arm
    from gap_tune.study.compared import Compared

# The momentum that recipes are meant for: where a search begins.
USUAL_MOMENTUM = 0.9


@dataclass(frozen=True)
class Search:
    """What a Ray Tune run needs to choose, start and stop trials.

    Attributes:
        space: Ray Tune's ``param_space``.
        trials: How many trials to start; None leaves it to ``searcher``.
        searcher: Suggests configurations.
        scheduler: Stops, or changes, running trials.
        options: Further arguments of ``tune.RunConfig``.
    """

    space: Mapping[str, Any]
    trials: int | None
    searcher: Any
    scheduler: TrialScheduler
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchTask:
    """What a method is asked to search: an arm on a seed.

    Attributes:
        conditions: Of the study.
        arm: The arm.
        seed: Seeds the search, and is the seed of all its trials.
        trials: How many trials to start; None starts as many as ``full_trials`` pay.
        full_trials: The budget in full trials, of methods that stop trials early; else None. The
            searcher has to keep to it, as ``methods.spending.WithinSteps`` does.
    """

    conditions: Compared
    arm: Arm
    seed: int
    trials: int | None
    full_trials: float | None = None

    def space(
        self, momentum: Any = None, start: float = USUAL_MOMENTUM
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return Ray Tune's ``param_space`` and the point to begin with, if it is inside.

        Of a workload, learning rates are searched around the recipe's on a logarithmic scale,
        beginning with that; of a user's own function what its space searches.

        Args:
            momentum: The domain of momentum; None where the arm's is not searched.
            start: The momentum to begin with.
        """
        return self.conditions.space_of(self.arm, self.seed, momentum, start)

    def family_momentum(self) -> Any:
        """Return the domain of momentum that the arm's optimizer family has.

        Raises:
            InvalidValueError: When it has no momentum to search.
        """
        family = self.arm.family_in(self.conditions.family)
        space = get_family(family).space
        if "momentum" not in space:
            raise InvalidValueError(
                f"the arm {self.arm.name} must have a family with momentum to search, "
                f"but got {family}."
            )
        return space["momentum"]


@dataclass(frozen=True)
class SearchMethod(ABC):
    """A way to search an arm's hyperparameters on a seed; an arm that searches has one.

    Subclasses are frozen dataclasses with a ``name``, by which arms are called ``<name>`` and
    ``<name>:<trials>``, and defaults for all their fields. One of this package stands in
    ``table.METHODS``; those of others are entry points of the group "gap_tune.search_methods".

    Args:
        trials: Trials that the arm takes per seed when left to itself. Eight is a small search
            that a study can still repeat on every seed.

    Attributes:
        name: What the method's arms are called.
        fewest: Trials per seed that it can do with.
        stops_early: Whether it ends trials early, by ``task.conditions.clock``, so that a budget of
            steps pays more of them.
        exchanges_checkpoints: Whether its trials read each other's checkpoints.

    Raises:
        InvalidValueError: When ``trials`` is less than ``fewest``.

    >>> from ray.tune.search import BasicVariantGenerator
    >>> from gap_tune import GapScheduler
    >>> @dataclass(frozen=True)
    ... class Chance(SearchMethod):
    ...     name = "chance"
    ...     trials: int = 16
    ...     def search(self, task):
    ...         space, _ = task.space(task.family_momentum())
    ...         searcher = BasicVariantGenerator(random_state=task.seed)
    ...         return Search(space, task.trials, searcher, GapScheduler())
    >>> Chance().trials, Chance(4).trials
    (16, 4)
    """

    name: ClassVar[str]
    fewest: ClassVar[int] = 1
    stops_early: ClassVar[bool] = False
    exchanges_checkpoints: ClassVar[bool] = False

    trials: int = 8

    def __post_init__(self) -> None:
        self.check_trials(self.name, self.trials)

    def check_trials(self, arm: str, trials: int) -> int:
        """Return a number of trials per seed when the method can do with it, else raise.

        Raises:
            InvalidValueError: When it is less than ``fewest``.
        """
        return check_count(f"trials of the arm {arm}", trials, self.fewest)

    def plan(self) -> tuple[Mapping[str, Any], ...]:
        """Return what each trial of a seed has to itself, where that is known beforehand.

        Left to themselves, arms with such a plan share one run with all others of the study. The
        default is none: the method has a run of its own for every seed.
        """
        return ()

    @abstractmethod
    def search(self, task: SearchTask) -> Search:
        """Return what a run of the arm on a seed needs.

        Raises:
            InvalidValueError: When the arm's family cannot be searched so.
        """
