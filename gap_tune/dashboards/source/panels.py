"""The panels of the Grafana dashboard: what each asks Prometheus, and what it means."""

from __future__ import annotations

from dataclasses import dataclass

# The labels that choose among gap_tune's metrics, and among Ray's own, which know no study.
_OURS = 'SessionName=~"$SessionName", study=~"$study"'
_RAYS = 'SessionName=~"$SessionName"'


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Attributes:
        expression: PromQL, with the dashboard's variables.
        legend: Name of each line, with ``{{label}}``.
    """

    expression: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel.

    Attributes:
        title: Its heading.
        description: What it shows, for someone who sees it for the first time.
        unit: Grafana's name of the unit; "short" for plain numbers.
        queries: What it draws.
        low: Lower end of the axis; None leaves it to the values.
        high: Upper end of the axis; None leaves it to the values.
        stacked: Whether lines are stacked.
        logarithmic: Whether the axis is.
        needs_gpu: Whether there is something to draw on machines with GPUs only.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    low: float | None = None
    high: float | None = None
    stacked: bool = False
    logarithmic: bool = False
    needs_gpu: bool = False


def _of(name: str, labels: str = _OURS) -> str:
    return f"ray_gap_tune_{name}{{{labels}}}"


def _quantile(share: float) -> str:
    return f"histogram_quantile({share}, sum by (le) ({_of('decision_seconds_bucket')}))"


def _count(name: str, more: str = "") -> str:
    # What has never happened has no series yet, and is none all the same.
    return f"sum({_of(name, _OURS + more)}) or vector(0)"


ROWS: dict[str, tuple[Panel, ...]] = {
    "Momentum and gradients": (
        Panel(
            "Momentum",
            "Momentum that each running trial trains with. The lines of fixed arms are flat.",
            "short",
            (Query(_of("momentum"), "{{arm}} {{trial}}"),),
            low=0.0,
            high=1.0,
        ),
        Panel(
            "Decisions so far",
            "Reports that led to a decision about momentum, by its reason. Most keep what is best "
            "already.",
            "short",
            (Query(f"sum by (reason) ({_of('decisions_total')})", "{{reason}}"),),
            low=0.0,
            stacked=True,
        ),
        Panel(
            "Gain",
            "Gain of the momentum in use and of the best candidate, a mean over an arm's running "
            "trials. A gap between the two is what another momentum would gain.",
            "short",
            (
                Query(f"avg by (arm) ({_of('gain')})", "{{arm}}: in use"),
                Query(f"avg by (arm) ({_of('best_gain')})", "{{arm}}: best candidate"),
            ),
        ),
        Panel(
            "Scale of the learning rate",
            "Factor by which each running trial's trust region, and so its learning rate, has "
            "grown or shrunk by the agreement. All at one end: the study's learning rates are too "
            "small or too large.",
            "short",
            (Query(_of("scale"), "{{arm}} {{trial}}"),),
            logarithmic=True,
        ),
        Panel(
            "Agreement",
            "How far fresh gradients point along the updates just taken, a mean over an arm's "
            "running trials: above 0 steps could be longer, below -0.4 they overshoot.",
            "short",
            (Query(f"avg by (arm) ({_of('agreement')})", "{{arm}}"),),
            low=-1.0,
            high=1.0,
        ),
        Panel(
            "Lag-1 autocorrelation of gradients",
            "Inner product of consecutive gradients over their power: near 0 noise dominates, "
            "toward 1 gradients agree and high momentum pays, below 0 steps overshoot.",
            "short",
            (Query(f"avg by (arm) ({_of('autocorrelation')})", "{{arm}}"),),
        ),
    ),
    "Results": (
        Panel(
            "Regret against the fixed arms so far",
            "By how much an arm's metric is behind the best fixed momentum's, on the same seeds "
            "after as many reports; below 0 it is ahead. Needs arms named fixed:...",
            "short",
            (Query(f"max by (arm) ({_of('regret')})", "{{arm}}"),),
        ),
        Panel(
            "Metric",
            "The study's metric in each running trial's latest report.",
            "short",
            (Query(_of("metric"), "{{arm}} {{trial}}"),),
        ),
        Panel(
            "Gradient power",
            "Mean squared norm of gradients, minibatch noise included, over an arm's running "
            "trials.",
            "short",
            (Query(f"avg by (arm) ({_of('gradient_power')})", "{{arm}}"),),
            logarithmic=True,
        ),
        Panel(
            "Trials",
            "Trials by status.",
            "short",
            (Query(f"sum by (status) ({_of('trials')})", "{{status}}"),),
            low=0.0,
            stacked=True,
        ),
    ),
    "Pace and faults": (
        Panel(
            "Throughput",
            "Optimizer steps per second, summed over an arm's running trials.",
            "ops",
            (Query(f"sum by (arm) ({_of('steps_per_second')})", "{{arm}}"),),
            low=0.0,
            stacked=True,
        ),
        Panel(
            "Decision latency",
            "Time from a result's arrival at the scheduler until the decision was sent, over all "
            "decisions so far. A trial waits that long at each report.",
            "s",
            (Query(_quantile(0.5), "median"), Query(_quantile(0.95), "95 %")),
            low=0.0,
        ),
        Panel(
            "Faults",
            "Trials that failed for good, restarts from a checkpoint, and optimizer steps whose "
            "gradients were not finite, so far.",
            "short",
            (
                Query(_count("faults_total", ', kind="failure"'), "failures"),
                Query(_count("faults_total", ', kind="restart"'), "restarts"),
                Query(_count("skipped_steps_total"), "skipped steps"),
            ),
            low=0.0,
        ),
    ),
    "Machines": (
        Panel(
            "GPU use",
            "Use of each GPU, as Ray measures it.",
            "percent",
            (
                Query(
                    f"sum by (instance, GpuIndex) (ray_node_gpus_utilization{{{_RAYS}}})",
                    "{{instance}} GPU {{GpuIndex}}",
                ),
            ),
            low=0.0,
            high=100.0,
            needs_gpu=True,
        ),
        Panel(
            "GPU memory in use",
            "Memory in use on each GPU, as Ray measures it.",
            "mbytes",
            (
                Query(
                    f"sum by (instance, GpuIndex) (ray_node_gram_used{{{_RAYS}}})",
                    "{{instance}} GPU {{GpuIndex}}",
                ),
            ),
            low=0.0,
            needs_gpu=True,
        ),
        Panel(
            "CPU use",
            "Use of each machine's CPU cores, as Ray measures it.",
            "percent",
            (Query(f"avg by (instance) (ray_node_cpu_utilization{{{_RAYS}}})", "{{instance}}"),),
            low=0.0,
            high=100.0,
        ),
        Panel(
            "Memory in use",
            "Memory in use on each machine, as Ray measures it.",
            "bytes",
            (Query(f"sum by (instance) (ray_node_mem_used{{{_RAYS}}})", "{{instance}}"),),
            low=0.0,
        ),
    ),
}
