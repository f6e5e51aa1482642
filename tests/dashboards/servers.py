"""What stands around a study: a real Prometheus, and what Ray asks of a Grafana."""

from __future__ import annotations

import json
import socket
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.programs import program

Series = list[tuple[dict[str, str], float]]


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, address: str) -> None:
        self._address = address

    def ask(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._address}/api/v1/{path}?{query}") as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> Series:
        """Return labels and value of each series now; nothing while it does not answer."""
        try:
            found = self.ask("query", query=expression)["result"]
        except OSError:
            return []
        return [(each["metric"], float(each["value"][1])) for each in found]


@contextmanager
def prometheus_at(port: int, configuration: Path, folder: Path) -> Iterator[Prometheus]:
    """Start the installed Prometheus with a configuration that we wrote."""
    address = f"127.0.0.1:{port}"
    command = [
        program("prometheus"),
        f"--config.file={configuration}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield Prometheus(f"http://{address}")
    finally:
        server.terminate()
        server.wait()


class _Answers(BaseHTTPRequestHandler):
    """A page for every path; health as Grafana reports it, which Ray's dashboard asks for."""

    def do_GET(self) -> None:
        healthy = self.path.startswith("/api/health")
        body = b'{"database": "ok"}' if healthy else b"<!doctype html><p>Grafana would be here"
        self.send_response(200)
        self.send_header("Content-Type", "application/json" if healthy else "text/html")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        pass


@contextmanager
def stand_in_for_grafana(port: int) -> Iterator[None]:
    """Answer in Grafana's place: Debian has none, so what it draws is not tested."""
    server = ThreadingHTTPServer(("127.0.0.1", port), _Answers)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
