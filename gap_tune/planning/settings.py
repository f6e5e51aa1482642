"""snippet: the settings of a planned study, as Python that runs when it is pasted."""

from __future__ import annotations

import math

from gap_tune.planning.request import Request

_NO_TENSORBOARD = "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"


def environment(request: Request) -> dict[str, str]:
    """Return the environment variables to set before the study, all of them Ray's.

    >>> environment(Request(10, nodes=1, gpus=2, report_seconds=60, tensorboard=False))
    {'TUNE_DISABLE_AUTO_CALLBACK_LOGGERS': '1'}
    """
    # Ray adds its three loggers to whatever is given; this keeps it to what is given.
    return {} if request.tensorboard else {_NO_TENSORBOARD: "1"}


def snippet(request: Request) -> str:
    """Return Python code that defines ``tune_config`` and ``run_config`` of the study.

    Of several studies it is one, the first; others differ in seed and name.

    >>> "max_concurrent_trials=2" in snippet(Request(10, nodes=1, gpus=2, report_seconds=60))
    True
    """
    return "\n".join([*_imports(request), "", *_tune_config(request), *_run_config(request)])


def _imports(request: Request) -> list[str]:
    lines = ["import os", "", "from ray import tune"]
    if not request.tensorboard:
        lines.append("from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback")
    if request.decide != "nobody":
        lines.append("from gap_tune import GapScheduler, GapSearch")
    elif request.searcher == "tpe":
        lines.append("from ray.tune.search.optuna import OptunaSearch")
    variables = [f'os.environ["{k}"] = "{v}"' for k, v in environment(request).items()]
    if not variables:
        lines = lines[2:]
    return [*lines, "", "seed = 0  # another in each study", *variables]


def _tune_config(request: Request) -> list[str]:
    lines = [
        "tune_config = tune.TuneConfig(",
        '    metric="loss", mode="min",',
        f"    num_samples={math.ceil(request.trials / request.studies)},",
    ]
    if request.limited:
        concurrent = math.ceil(request.concurrent / request.studies)
        lines.append(f"    max_concurrent_trials={concurrent},")
    if request.reuse_actors:
        lines.append("    reuse_actors=True,")
    if request.decide != "nobody":
        lines += [
            f'    search_alg=GapSearch({{"name": "{request.searcher}", "seed": seed}}),',
            "    scheduler=GapScheduler(),",
        ]
    elif request.searcher == "tpe":
        lines.append("    search_alg=OptunaSearch(seed=seed),")
    return [*lines, ")"]


def _run_config(request: Request) -> list[str]:
    lines = ["run_config = tune.RunConfig(", '    name=f"study-{seed}",']
    if not request.tensorboard:
        lines.append("    callbacks=[JsonLoggerCallback(), CSVLoggerCallback()],")
    return [*lines, ")", *_in_trials(request)]


def _in_trials(request: Request) -> list[str]:
    if request.decide != "trial":
        return []
    return [
        "# Trials train with gap_tune.optim.SGD or AdamW, and param_space says so:",
        'param_space = {"gap": {"mode": "trial"}}',
    ]
