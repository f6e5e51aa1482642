"""What study.json says of a study: enough to make it again."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gap_tune.errors import StateError
from gap_tune.formatting import without_secrets
from gap_tune.records.records import DEFAULT_MARGIN
from gap_tune.records.studies import STUDY_FILE
from gap_tune.study.own.function import TuneFunction
from gap_tune.study.own.space import decode
from gap_tune.study.resources import Resources

if TYPE_CHECKING:
    from gap_tune.study.study import Study

_PACKAGES = ("gap-tune", "ray", "torch", "numpy", "optuna")
# What tells whether two studies are the same one; the rest follows from it, or may differ.
_COMPARED = ("arms", "seeds", "metric", "mode", "margin", "budget", "lrs", "settings")


def describe(study: Study) -> dict[str, Any]:
    """Return what ``study.json`` records of a study, plain JSON values.

    ``shared_trials`` is the number of trials in the run that arms share, ``runs`` has the folder,
    arm and seed of each run that belongs to one arm. A study that sweeps learning rates says in
    ``lrs`` how many, and in ``swept`` which each arm is trained at that searches none.
    """
    swept = study.plan.swept_lrs()
    shared = [study.trials_per_seed(arm) or 0 for arm in study.arms if study.plan.shares(arm)]
    return {
        "arms": [arm.name for arm in study.arms],
        "seeds": study.seeds,
        "metric": study.conditions.metric,
        "mode": study.conditions.mode,
        "margin": study.margin,
        "budget": str(study.budget),
        "budget_text": study.plan.budget_text,
        **({"lrs": study.conditions.lrs, "swept": swept} if swept else {}),
        "settings": study.settings,
        "resources": asdict(study.resources),
        "shared_trials": sum(shared) * study.seeds,
        "runs": [
            {"folder": run.folder.name, "arm": run.search.arm, "seed": run.search.seed}
            for run in study.runs()
            if run.search.arm is not None
        ],
        "command": without_secrets(" ".join(["gap-tune", *sys.argv[1:]])),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in _PACKAGES},
    }


def arguments_of(
    description: Mapping[str, Any], storage: Path | str, function: TuneFunction | None = None
) -> dict[str, Any]:
    """Return the arguments of ``Study``, but for ``storage``, that a description was made of.

    Args:
        description: What ``describe`` returned.
        storage: Where it was, for messages.
        function: What a study of a user's own function is of, where its name leads nowhere.

    Raises:
        StateError: When it lacks one, or names no function where it has to.
    """
    try:
        settings = description["settings"]
        if "function" in settings:
            own = _own(settings, storage, function)
        else:
            names = ("workload", "workload_options", "family", "epochs", "lr", "lr_range")
            own = {name: settings[name] for name in (*names, "reports_per_epoch")}
        rest = {name: description[name] for name in ("arms", "seeds", "metric", "mode", "budget")}
        rest["lrs"] = description.get("lrs")
        rest["margin"] = description.get("margin", DEFAULT_MARGIN)
        return {**own, **rest, "resources": Resources(**description["resources"])}
    except (KeyError, TypeError) as error:
        raise StateError(
            f"{STUDY_FILE} must say how the study was made, but that in {storage} is of another "
            f"version of gap_tune: {error!r}."
        ) from None


def _own(
    settings: Mapping[str, Any], storage: Path | str, function: TuneFunction | None
) -> dict[str, Any]:
    found = function or settings["function"]
    if found is None:
        raise StateError(
            f"{STUDY_FILE} in {storage} must name a function that can be imported, but "
            f"{settings['name']} was none, as in a notebook: pass it, Study.restore(storage, "
            "function)."
        )
    space = decode(settings["param_space"])
    return {
        "workload": found,
        "param_space": space,
        "momentum": settings["momentum"],
        # Studies of earlier versions had none.
        "reports": settings.get("reports"),
    }


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names by which the descriptions of two studies differ."""
    return [name for name in _COMPARED if one.get(name) != other.get(name)]
