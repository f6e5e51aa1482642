"""Commands that compare methods."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from gap_tune.cli import completion
from gap_tune.cli.options import DEFAULT_ARMS, Arms, Cpus, Epochs, Family, Json, Lr, Out, Style
from gap_tune.cli.running import run_study
from gap_tune.errors import InvalidValueError, StateError, UnsupportedError

DEMO_WORKLOAD = "digits-resnet"
_OF_RESOURCES = ("cpus", "cpus_per_trial", "gpus_per_trial")


def demo(
    out: Out = None,
    seeds: Annotated[int, typer.Option(help="Paired seeds: trials per arm.")] = 3,
    epochs: Epochs = None,
    cpus: Cpus = None,
    progress: Style = "auto",
    as_json: Json = False,
) -> None:
    """Compare GAP with a sweep of six fixed momenta on real handwritten digits."""
    from gap_tune.study.grammar import DEMO_MOMENTA
    from gap_tune.tune.spelling import GAP_NAME, fixed_name

    arms = [GAP_NAME, *map(fixed_name, DEMO_MOMENTA)]
    given = {"workload": DEMO_WORKLOAD, "arms": arms, "seeds": seeds, "epochs": epochs}
    _compare({**given, "cpus": cpus, "out": out}, style=progress, as_json=as_json)


def compare(
    workload: Annotated[
        str,
        typer.Argument(
            metavar="WORKLOAD|FILE|FUNCTION",
            help="What to train (`gap-tune workloads`), study.yaml, or with --space your own Tune "
            "function, my_module:train or script.py:train.",
            autocompletion=completion.workloads,
        ),
    ],
    arms: Arms = None,
    out: Out = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="The param_space of your own function: YAML such as "
            "lr: {loguniform: [1e-4, 1e-1]}, width: {choice: [64, 128]}, epochs: 5.",
        ),
    ] = None,
    momentum: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Its configuration's key of the momentum. [default: momentum]"
        ),
    ] = None,
    reports: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many reports a full trial of it makes: asha and median need to know.",
        ),
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="Paired seeds. [default: 3]")] = None,
    epochs: Epochs = None,
    lr: Lr = None,
    lr_range: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="LOW HIGH", help="Where to search it. [default: a tenth to three times it]"
        ),
    ] = None,
    lrs: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Train each arm that searches none at N learning rates over that range, and "
            "compare at the best of each. [default: the recipe's alone]",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            help="What an arm may spend per seed: own, trials:<n>, steps:<n>, steps:<n>x. "
            "[default: own]"
        ),
    ] = None,
    family: Family = None,
    metric: Annotated[
        str | None, typer.Option(help="Metric to compare by. [default: validation_loss]")
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="Whether it should be min or max. [default: min]")
    ] = None,
    reports_per_epoch: Annotated[
        int | None, typer.Option(help="Reports, and decisions, per epoch. [default: 4]")
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Share by which GAP may differ from the best fixed momentum and be called as "
            "good. [default: 0.03]"
        ),
    ] = None,
    cpus: Cpus = None,
    cpus_per_trial: Annotated[
        int | None, typer.Option(help="CPU cores of one trial. [default: 1]")
    ] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="GPUs of one trial, such as 1 or 0.25. [default: 0]")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue what is in --out; start where nothing is.")
    ] = False,
    progress: Style = "auto",
    as_json: Json = False,
) -> None:
    """Compare methods on a workload or your own function: same seeds, at a stated budget.

    Options override what a study file says.
    """
    from gap_tune.study.files import SUFFIXES, read_study_file

    is_file = workload.endswith(SUFFIXES)
    for name, value in (("momentum", momentum), ("reports", reports)):
        if value is not None and space is None:
            raise InvalidValueError(f"--{name} must come with --space, but got it alone.")
    given: dict[str, Any] = {
        "momentum": momentum,
        "reports": reports,
        "arms": None if arms is None else arms.split(","),
        "out": out,
        "seeds": seeds,
        "epochs": epochs,
        "lr": lr,
        "lr_range": lr_range,
        "lrs": lrs,
        "budget": budget,
        "family": family,
        "metric": metric,
        "mode": mode,
        "reports_per_epoch": reports_per_epoch,
        "margin": margin,
        "cpus": cpus,
        "cpus_per_trial": cpus_per_trial,
        "gpus_per_trial": gpus_per_trial,
    }
    said = read_study_file(workload) if is_file else {"workload": workload}
    chosen = {name: value for name, value in given.items() if value is not None}
    if space is not None:
        from gap_tune.study.own.space import read_space

        chosen["param_space"] = read_space(space)
    asked = {"arms": DEFAULT_ARMS.split(","), **said, **chosen}
    _compare(asked, resume=resume, style=progress, as_json=as_json)


def _compare(
    given: dict[str, Any], *, resume: bool = False, style: str, as_json: bool = False
) -> None:
    """Run the study that options and file ask for.

    Args:
        given: Arguments of ``Study`` and ``Resources``, and "out"; None is their default.
        resume: Whether to continue what is in "out".
        style: How to show its progress.
        as_json: Whether to print the result as JSON.
    """
    from gap_tune.study import Resources, Study

    arguments = {name: value for name, value in given.items() if value is not None}
    out = arguments.pop("out", None)
    if resume and out is None:
        raise InvalidValueError("--resume must come with --out, the folder to continue, got none.")
    workload = arguments.pop("workload")
    name = Path(workload).name.replace(":", "-")
    folder = out or f"gap_tune_results/{name}-{datetime.now():%Y%m%d-%H%M%S}"
    resources = {key: arguments.pop(key) for key in _OF_RESOURCES if key in arguments}
    try:
        study = Study(workload, **arguments, resources=Resources(**resources), storage=folder)
    except UnsupportedError as error:
        if ":" not in workload or "param_space" in arguments:
            raise
        raise UnsupportedError(f"{error} A Tune function of yours comes with --space.") from None
    if not resume or not study.exists():
        run_study(study, study.run, style, as_json=as_json)
        return
    different = study.differs_from(Study.restore(folder))
    if different:
        raise StateError(
            f"--resume must ask for the comparison that {study.store.shown(study.storage)} holds, "
            f"but got other {different}: "
            "choose another folder, or `gap-tune resume` it as it is."
        )
    run_study(study, study.resume, style, as_json=as_json)
