"""A panel of a few short runs."""

from __future__ import annotations

from pathlib import Path

SETTINGS = """\
seeds: 2
lr_span: 30.0
lr_count: 2
arms: [gap, "fixed:0.90"]
settings:
  - name: one
    workload: quadratic
    options: {samples: 256, noise: 0.5}
    family: sgd
    batch_size: 32
    epochs: 2
"""


def write_settings(folder: Path, change: tuple[str, str] = ("", "")) -> Path:
    """Write the settings, with a text replaced by another, and return the file."""
    path = folder / "settings.yaml"
    path.write_text(SETTINGS.replace(*change) if change[0] else SETTINGS)
    return path
