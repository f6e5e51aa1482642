from __future__ import annotations

import json
import re
import tomllib

import pytest
import yaml

from tests.cluster_configs.files import CONFIGS, ROOT, load

PINNED = re.compile(r"^[\w./-]+:v?\d+\.\d+\.\d+[\w.-]*$")


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile's instructions in order."""
    text = (CONFIGS / "docker/Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    words = [line.split(maxsplit=1) for line in text.splitlines() if line]
    return [(name, value) for name, value in words]


def arguments(name: str) -> list[str]:
    return [value for instruction, value in instructions() if instruction == name]


def test_the_dockerfile_has_only_instructions_that_exist_and_begins_with_a_pinned_base() -> None:
    known = {"FROM", "RUN", "WORKDIR", "COPY", "ENV", "USER", "CMD"}
    assert {name for name, _ in instructions()} <= known
    assert instructions()[0][0] == "FROM"
    for base in arguments("FROM"):
        assert PINNED.match(base)


def test_the_base_image_has_a_python_that_the_package_supports() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (base,) = arguments("FROM")
    assert project["requires-python"] == ">=3.11"
    assert base.startswith("python:3.11.")


def test_the_image_runs_as_an_ordinary_user_that_it_makes() -> None:
    (user,) = arguments("USER")
    assert user not in ("root", "0")
    assert re.search(rf"useradd [^&]*--uid 1000 {user}\b", " ".join(arguments("RUN")))
    # Whatever comes after must not need root.
    names = [name for name, _ in instructions()]
    assert names[names.index("USER") + 1 :] == ["CMD"]


def test_the_image_copies_only_files_that_exist_and_nothing_secret() -> None:
    for value in arguments("COPY"):
        *sources, _ = value.split()
        for source in sources:
            assert (ROOT / source).exists()
            assert source not in (".", "..", ".git")
    assert not re.search("TOKEN|PASSWORD|SECRET", " ".join(arguments("ENV")))


def test_packages_are_pinned_and_caches_left_out() -> None:
    (apt, pip) = arguments("RUN")
    assert "--no-install-recommends" in apt
    assert apt.index("rm -rf /var/lib/apt/lists/*") > apt.index("apt-get install")
    assert "--no-cache-dir --constraint constraints.txt" in pip
    assert "sudo" not in apt + pip


def test_the_default_command_is_one_of_the_package() -> None:
    (command,) = arguments("CMD")
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert json.loads(command)[0] in scripts


COMPOSE = load("docker/compose.yaml")


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_images_are_pinned_and_ports_are_of_this_machine_only(service: str) -> None:
    section = COMPOSE["services"][service]
    assert PINNED.match(section["image"])
    for port in section.get("ports", []):
        assert re.match(r"127\.0\.0\.1:\d+:\d+$", port)


def test_services_refer_only_to_what_the_file_declares() -> None:
    configs = set()
    for section in COMPOSE["services"].values():
        for volume in section.get("volumes", []):
            assert volume.split(":")[0] in COMPOSE["volumes"]
        configs |= {config["source"] for config in section.get("configs", [])}
    assert configs == set(COMPOSE["configs"])
    build = COMPOSE["services"]["study"]["build"]
    context = (CONFIGS / "docker" / build["context"]).resolve()
    assert context == ROOT
    assert (context / build["dockerfile"]).exists()


def test_prometheus_scrapes_the_port_that_ray_exports_and_grafana_reads_it() -> None:
    configs = {name: yaml.safe_load(c["content"]) for name, c in COMPOSE["configs"].items()}
    (job,) = configs["prometheus"]["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    host, port = target.split(":")
    assert host in COMPOSE["services"]
    assert f"--metrics-export-port={port}" in COMPOSE["services"][host]["command"][-1]
    (source,) = configs["datasource"]["datasources"]
    assert source["url"] == "http://prometheus:9090"
    study = COMPOSE["services"]["study"]
    assert study["environment"]["RAY_PROMETHEUS_HOST"] == source["url"]
    provider, ours = configs["dashboards"]["providers"]
    assert provider["options"]["path"].startswith("/tmp/ray/")
    # The dashboard that gap_tune writes, where it writes it.
    written = ours["options"]["path"].removesuffix("/grafana/dashboards")
    assert f"gap-tune dashboards --out {written} " in study["command"][-1]
    assert "ray:/tmp/ray" in study["volumes"]
    assert "ray:/tmp/ray:ro" in COMPOSE["services"]["grafana"]["volumes"]


def test_secrets_must_be_in_the_environment() -> None:
    for service, name in (
        ("study", "RAY_AUTH_TOKEN"),
        ("grafana", "GF_SECURITY_ADMIN_PASSWORD"),
    ):
        value = COMPOSE["services"][service]["environment"][name]
        assert re.match(r"\$\{\w+:\?[^}]+\}$", value)
