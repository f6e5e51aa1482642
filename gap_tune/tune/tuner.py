"""tuner: a tune.Tuner whose searcher, scheduler and callbacks are gap_tune's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from secrets import token_hex
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from gap_tune.errors import InvalidValueError, UnsupportedError
from gap_tune.tune.monitoring.metrics import RayMetrics
from gap_tune.tune.monitoring.progress import Progress
from gap_tune.tune.ray_private import schedulers, searchers
from gap_tune.tune.scheduling.scheduler import GapScheduler
from gap_tune.tune.search import GapSearch
from gap_tune.tune.search.named import SearcherSpec

# Where a TorchTrainer's workers find their part of a configuration.
_LOOP = "train_loop_config"


def tuner(
    train: Any,
    param_space: Mapping[str, Any] | None = None,
    *,
    metric: str | None = None,
    mode: str | None = None,
    num_samples: int | None = None,
    search_alg: SearcherSpec = None,
    scheduler: Any = None,
    callbacks: Sequence[tune.Callback] | None = None,
    tune_config: tune.TuneConfig | None = None,
    run_config: tune.RunConfig | None = None,
) -> tune.Tuner:
    """Return a ``tune.Tuner`` that tunes momentum: what ``tune.Tuner`` takes is taken here, too.

    So an existing study needs another name where its tuner is made, besides ``attach`` in its
    function, and loses the momentum from its ``param_space``::

        def train(config):
            ...
            optimizer = torch.optim.SGD(parameters, lr=config["lr"], momentum=config["momentum"])
            trial = gap_tune.attach(optimizer, config)
            for epoch in trial.epochs(10):
                trial.report({"loss": train_one_epoch(model, optimizer)})


        space = {"lr": tune.loguniform(1e-3, 1.0)}
        tuner = gap_tune.tuner(train, space, metric="loss", mode="min", num_samples=8)
        results = tuner.fit()

    Args:
        train: What Ray Tune runs: a function, a class trainable (``gap_tune.GapTrainable``), also
            with resources (``tune.with_resources``) or parameters. A ``TorchTrainer`` is started
            in such a function, and takes ``config["train_loop_config"]``.
        param_space: The hyperparameters, without the momentum: ``config["momentum"]`` is supplied,
            or ``config["train_loop_config"]["momentum"]`` where the space holds
            "train_loop_config". For other names, beta1 of Adam or a coupled learning rate pass
            ``search_alg=gap_tune.GapSearch(...)``.
        metric: As of ``tune.TuneConfig``, like ``mode`` and ``num_samples``; goes before what
            ``tune_config`` says.
        mode: "min" or "max".
        num_samples: Number of trials.
        search_alg: A ``GapSearch``, which is used as it is, or what it should wrap: a searcher, or
            "random" or "tpe", the default, with or without a seed.
        scheduler: A ``GapScheduler``, which is used as it is, or what it should wrap, such as
            ``ASHAScheduler()``; default FIFO.
        callbacks: Take the place of ``Progress``, which shows the study in the terminal instead of
            Ray's own tables, and ``RayMetrics``, for Prometheus. Those of ``run_config`` come on
            top; one that is there already is not added, nor is ``Progress`` where ``verbose`` is
            not Ray's default.
        tune_config: Everything else, as of ``tune.Tuner``.
        run_config: As of ``tune.Tuner``. A study without a name gets Ray's with six digits behind
            it: two that begin in one second, as jobs of an array do, would share a folder.

    Raises:
        InvalidValueError: When metric or mode is missing or unknown, or the searcher's name is.
        UnsupportedError: When searcher or scheduler cannot be wrapped, or ``train`` is a trainer
            of Ray Train.

    >>> tuner("digits", {"lr": 0.1}, metric="loss", mode="least")
    Traceback (most recent call last):
    ...
    gap_tune.errors.InvalidValueError: mode must be 'min' or 'max', but got 'least'.
    """
    _refuse_trainers(train)
    space = dict(param_space or {})
    study = tune_config or tune.TuneConfig()
    given = {"metric": metric, "mode": mode, "num_samples": num_samples}
    study = replace(study, **{name: value for name, value in given.items() if value is not None})
    searcher = _search(study.search_alg if search_alg is None else search_alg, space)
    study = replace(study, search_alg=searcher, scheduler=_schedule(scheduler or study.scheduler))
    objective = study.metric or searcher.metric, study.mode or searcher.mode
    if None in objective:
        raise InvalidValueError(
            "metric and mode must be given to tuner, tune_config or the searcher, but got "
            f"metric={objective[0]!r} and mode={objective[1]!r}."
        )
    run = _with_name(run_config or tune.RunConfig(), train)
    return tune.Tuner(
        train,
        param_space=space,
        tune_config=study,
        run_config=_with_callbacks(run, callbacks, objective, study.num_samples),
    )


def _refuse_trainers(train: Any) -> None:
    """Raise where Ray would say no more than that it cannot run this."""
    if callable(train) or isinstance(train, str) or not hasattr(train, "train_loop_per_worker"):
        return
    raise UnsupportedError(
        f"train must be a function or a class trainable, but got a {type(train).__name__}: start "
        "it in a function, with train_loop_config=config['train_loop_config'] and "
        "RunConfig(callbacks=[TuneReportCallback()])."
    )


def _search(given: Any, space: Mapping[str, Any]) -> Searcher:
    known = searchers.chain(given) if isinstance(given, Searcher) else ()
    if any(isinstance(each, GapSearch) for each in known):
        return given
    return GapSearch(given, momentum=f"{_LOOP}/momentum" if _LOOP in space else None)


def _schedule(given: Any) -> Any:
    within = given
    while within is not None:
        if isinstance(within, GapScheduler):
            return given
        within = schedulers.base_scheduler(within)
    return GapScheduler(given)


def _with_name(run: tune.RunConfig, train: Any) -> tune.RunConfig:
    """Name a study that has no name as no other is named."""
    # Whatever else it is, Ray will refuse.
    if run.name is not None or not (callable(train) or isinstance(train, str)):
        return run
    began = f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    name = tune.Experiment.get_trainable_name(train)
    return replace(run, name=f"{name}_{began}_{token_hex(3)}")


def _with_callbacks(
    run: tune.RunConfig,
    callbacks: Sequence[tune.Callback] | None,
    objective: tuple[Any, Any],
    num_samples: int,
) -> tune.RunConfig:
    theirs = list(run.callbacks or [])
    if callbacks is not None:
        return replace(run, callbacks=[*theirs, *callbacks])
    metric, mode = objective
    total = num_samples if num_samples > 0 else None
    shows = Progress(
        total,
        metric=metric,
        mode=mode,
        epoch="training_iteration",
        loss="loss",
        accuracy="accuracy",
    )
    ours: list[tune.Callback] = [RayMetrics(metric, mode)]
    if run.verbose == type(run)().verbose:
        ours.insert(0, shows)
    new = [each for each in ours if not any(isinstance(one, type(each)) for one in theirs)]
    # Two displays would write over each other.
    verbose = 0 if any(isinstance(each, Progress) for each in [*theirs, *new]) else run.verbose
    return replace(run, callbacks=[*theirs, *new], verbose=verbose)
