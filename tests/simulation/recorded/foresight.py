"""How much early reports of recorded runs tell about their ends, by who has the momentum.

A scheduler that stops trials early goes by their early reports. For the figures of a table, of the
shipped one by default:

    python -m tests.simulation.recorded.foresight [FOLDER]
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from gap_tune.simulation.recorded import RecordedRuns
from gap_tune.simulation.recorded.files import Tables
from gap_tune.simulation.recorded.recordings import Recordings
from gap_tune.simulation.recorded.runs import SHIPPED

# Trials of a study, drawn from all runs so often; of nine, ASHA's first rung keeps three.
TRIALS, KEPT, DRAWS = 9, 3, 300
# Shares of the training after which to look.
SHARES = (0.1, 0.15, 0.25, 0.35, 0.5, 0.7)
# Of a log loss, lest one setting that goes to zero carries the mean.
MOST_REGRET = 2.0
GROUPS = ("gap", "gap-unscaled", "fixed:0.9", "fixed")


def courses(recordings: Recordings, group: str) -> NDArray[np.float64]:
    """Return validation losses of the runs of all arms of a group, by run and moment.

    Args:
        recordings: A setting's runs.
        group: An arm, or "fixed" for all fixed momenta. Runs that diverged are the worst.
    """
    places = [i for i, arm in enumerate(recordings.arms) if f"{arm}:".startswith(f"{group}:")]
    losses = recordings.columns["validation_loss"][places].reshape(-1, len(recordings.steps))
    return np.where(np.isfinite(losses), losses, np.inf)


def foresight(losses: NDArray[np.float64], moment: int) -> float:
    """Return the rank correlation over runs of the losses at a moment with those at the end."""
    return float(spearmanr(losses[:, moment], losses[:, -1]).statistic)


def regret(losses: NDArray[np.float64], moment: int, random: np.random.Generator) -> float:
    """Return by how much, in log loss, the best that is kept at a moment ends behind the best."""
    found = []
    for _ in range(DRAWS):
        study = losses[random.choice(len(losses), TRIALS, replace=False)]
        kept = study[np.argsort(study[:, moment], kind="stable")[:KEPT]]
        best = study[:, -1].min()
        with np.errstate(invalid="ignore"):
            behind = np.log(kept[:, -1].min()) - np.log(best)
        found.append(min(np.nan_to_num(behind, nan=0.0), MOST_REGRET))
    return float(np.mean(found))


def line(every: Sequence[Recordings], group: str) -> str:
    """Return a group's figures, means over settings, at each of the shares."""
    texts = []
    for share in SHARES:
        ranks, regrets = [], []
        for recordings in every:
            losses = courses(recordings, group)
            moment = max(round(share * len(recordings.steps)) - 1, 0)
            ranks.append(foresight(losses, moment))
            regrets.append(regret(losses, moment, np.random.default_rng(0)))
        texts.append(f"{np.mean(ranks):.2f} ({100 * np.median(regrets):.1f} %)")
    return f"{group:13}" + "".join(f"{text:>15}" for text in texts)


def main(folder: Path) -> None:
    tables = Tables(folder)
    every = [tables.read(name) for name in RecordedRuns.load(folder)]
    print("Rank correlation of reports with ends (regret of keeping three trials of nine)")
    print(" " * 13 + "".join(f"{f'after {100 * share:.0f} %':>15}" for share in SHARES))
    for group in GROUPS:
        print(line(every, group))


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute() if sys.argv[1:] else SHIPPED)
