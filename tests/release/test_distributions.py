"""What a release consists of: all that is in the repository, and a wheel that needs none of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email import message_from_bytes
from pathlib import Path

import pytest

import gap_tune
from tests.programs import program

ROOT = Path(__file__).parents[2]
# Two environments are made and a study is run.
pytestmark = pytest.mark.slow


def run(*command: str | Path, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    ended = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stdout[-5000:] + ended.stderr[-5000:]
    return ended.stdout


def committed() -> set[str]:
    """Return the files of the repository."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout")
    names = run(program("git"), "ls-files", "-z", folder=ROOT).split("\0")
    return {name for name in names if name and (ROOT / name).is_file()}


@dataclass(frozen=True)
class Distributions:
    """What was built: the sdist, and the wheel that was built from it."""

    sdist: Path
    wheel: Path

    @property
    def packed(self) -> set[str]:
        """The files of the sdist."""
        with tarfile.open(self.sdist) as archive:
            return {member.name.partition("/")[2] for member in archive if member.isfile()}

    @property
    def installed(self) -> set[str]:
        """The files of the wheel."""
        return set(zipfile.ZipFile(self.wheel).namelist())


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Build both from what is committed; ``make dist`` has built them already."""
    built = os.environ.get("GAP_TUNE_DIST")
    folder = ROOT / built if built else tmp_path_factory.mktemp("dist")
    if not built:
        # Whatever else lies in a checkout stays out of it.
        source = tmp_path_factory.mktemp("source")
        for name in committed():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
        run(sys.executable, "-m", "build", "--installer", "uv", "-o", folder, folder=source)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return Distributions(sdist, wheel)


def test_the_sdist_has_every_file_of_the_repository_and_no_other(
    distributions: Distributions,
) -> None:
    assert distributions.packed - {"PKG-INFO"} == committed()


def test_the_wheel_has_every_file_of_the_package_and_no_other(
    distributions: Distributions,
) -> None:
    package = {name for name in committed() if name.startswith("gap_tune/")}
    others = {name for name in distributions.installed if ".dist-info/" not in name}
    assert others == package


def test_the_wheel_says_what_it_is(distributions: Distributions) -> None:
    wheel = zipfile.ZipFile(distributions.wheel)
    folder = f"gap_tune-{gap_tune.__version__}.dist-info"
    said = message_from_bytes(wheel.read(f"{folder}/METADATA"))
    assert (said["Name"], said["Version"]) == ("gap-tune", gap_tune.__version__)
    assert said["License-Expression"] == "Apache-2.0"
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    assert "gap-tune = gap_tune.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()


def test_twine_finds_nothing_wrong(distributions: Distributions) -> None:
    files = (distributions.sdist, distributions.wheel)
    run(
        sys.executable,
        "-m",
        "twine",
        "check",
        "--strict",
        *files,
        folder=distributions.wheel.parent,
    )


@pytest.fixture(scope="module")
def alone(
    distributions: Distributions, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path, dict[str, str]]]:
    """Give an environment with the wheel and what it asks for, an empty folder, and variables."""
    # Beside the cache of packages, of which files can be linked there rather than copied.
    environment = ROOT / ".venv-alone"
    uv = Path(sys.executable).with_name("uv")
    run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, environment, folder=ROOT)
    binaries = environment / "bin"
    run(
        *(uv, "pip", "install", "--quiet", "--python", binaries / "python"),
        *("--constraint", ROOT / "constraints.txt", distributions.wheel, "pytest"),
        folder=ROOT,
    )
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    yield binaries, tmp_path_factory.mktemp("empty"), variables
    shutil.rmtree(environment)


def test_the_wheel_alone_runs_the_demo(
    alone: tuple[Path, Path, dict[str, str]],
) -> None:
    binaries, folder, variables = alone
    where = "import gap_tune; print(gap_tune.__file__)"
    found = run(binaries / "python", "-c", where, folder=folder, environment=variables)
    assert Path(found.strip()).is_relative_to(binaries.parent)
    version = run(binaries / "gap-tune", "--version", folder=folder, environment=variables)
    assert version == f"gap-tune {gap_tune.__version__}\n"
    options = ("--epochs", "1", "--seeds", "1", "--progress", "quiet", "--out", "study")
    run(binaries / "gap-tune", "demo", *options, folder=folder, environment=variables)
    assert "<html" in (folder / "study" / "report.html").read_text()


def test_the_wheel_alone_passes_the_contracts_that_it_ships(
    alone: tuple[Path, Path, dict[str, str]],
) -> None:
    binaries, folder, variables = alone
    shutil.copy(Path(__file__).with_name("shipped.py"), folder / "test_shipped.py")
    said = run(binaries / "python", "-m", "pytest", "-q", folder=folder, environment=variables)
    assert "passed" in said.splitlines()[-1]
    assert "failed" not in said.splitlines()[-1]
