"""What `gap-tune dashboards` writes: dashboard, provisioning, Prometheus and Ray settings."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined

from gap_tune.dashboards.grafana import UID, grafana_json
from gap_tune.errors import InvalidValueError

DASHBOARD = Path("grafana/dashboards/gap_tune.json")
DATASOURCE_NAME = "Prometheus"
# Where Ray lists the metrics ports of its machines, for Prometheus to find.
DISCOVERY = "/tmp/ray/prom_metrics_service_discovery.json"  # nosec B108
_TEMPLATES = {
    "grafana/grafana.ini": "grafana.ini",
    "grafana/provisioning/datasources/gap_tune.yaml": "datasource.yaml",
    "grafana/provisioning/dashboards/gap_tune.yaml": "provider.yaml",
    "prometheus/prometheus.yml": "prometheus.yml",
    "prometheus/static.yml": "static.yml",
    "ray.env": "ray.env",
    "README.txt": "README.txt",
}


@dataclass(frozen=True)
class Addresses:
    """Where everything listens.

    Attributes:
        grafana: Grafana, as the browser and Ray's head reach it.
        prometheus: Prometheus, as Grafana and Ray's head reach it.
        targets: Metrics ports of Ray's machines, ``host:port``, for ``static.yml``; 8080 is what
            the files of cluster_configs open.

    Raises:
        InvalidValueError: When an address is none of that form.

    >>> Addresses(grafana="localhost:3000")
    Traceback (most recent call last):
    ...
    gap_tune.errors.InvalidValueError: grafana must be an http or https address, but got \
'localhost:3000'.
    """

    grafana: str = "http://localhost:3000"
    prometheus: str = "http://localhost:9090"
    targets: Sequence[str] = ("127.0.0.1:8080",)

    def __post_init__(self) -> None:
        for name in ("grafana", "prometheus"):
            _check_address(name, getattr(self, name))
        for target in self.targets:
            host, _, port = target.rpartition(":")
            if not host or not port.isdecimal() or not _is_plain(target):
                raise InvalidValueError(f"target must be host:port, but got {target!r}.")


def write_dashboards(folder: Path | str, addresses: Addresses | None = None) -> Path:
    """Write everything into a folder, over what an earlier call wrote; return its README.

    Args:
        folder: Made when it is absent.
        addresses: Where everything listens; default all on this machine.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    # Prometheus and Grafana are started elsewhere: their files name absolute paths.
    folder = Path(folder).expanduser().resolve()
    # They are YAML and the like, in which values are quoted as JSON, not HTML.
    environment = Environment(  # nosec B701
        loader=PackageLoader("gap_tune.dashboards"),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"json": json.dumps, "shell": lambda value: shlex.quote(str(value))}
    addresses = addresses or Addresses()
    values = {
        "addresses": addresses,
        "grafana_port": _port(addresses.grafana),
        "prometheus_port": _port(addresses.prometheus),
        "datasource": DATASOURCE_NAME,
        "discovery": DISCOVERY,
        "folder": folder,
        "uid": UID,
    }
    texts = {name: environment.get_template(of).render(values) for name, of in _TEMPLATES.items()}
    texts[str(DASHBOARD)] = grafana_json()
    try:
        for name, text in texts.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidValueError(
            f"out must be a folder that can be written, but got {folder}: {error.strerror}."
        ) from None
    return folder / "README.txt"


def _check_address(name: str, value: str) -> None:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.netloc or not _is_plain(value):
        raise InvalidValueError(f"{name} must be an http or https address, but got {value!r}.")


def _port(address: str) -> int:
    parts = urlsplit(address)
    return parts.port or (443 if parts.scheme == "https" else 80)


def _is_plain(text: str) -> bool:
    """Whether a text can stand in any of the files without quotes."""
    return text.isascii() and text.isprintable() and not set(text) & set(" '\"\\`$;&|<>(){}#")
