"""Two network namespaces with an address each, joined by a switch whose link can be cut."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

HEAD, WORKER = "10.213.0.1", "10.213.0.2"


@dataclass(frozen=True)
class Network:
    """Names of the namespaces; a command runs in one of them with ``inside``.

    Attributes:
        head: Namespace of the head, whose address is ``HEAD``.
        worker: Namespace of the worker, whose address is ``WORKER``.
        switch: Namespace between them: a link cut there leaves both addresses in order.
    """

    head: str
    worker: str
    switch: str

    def cut(self) -> None:
        """Cut the link; packets are lost, connections are not closed."""
        ip("-n", self.switch, "link", "set", self.worker, "down")

    def mend(self) -> None:
        """Let packets through again."""
        ip("-n", self.switch, "link", "set", self.worker, "up")


def inside(namespace: str, *command: str) -> list[str]:
    """Return the command that runs another one in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


def ip(*arguments: str) -> None:
    """Run ``ip``; raises ``OSError`` with what it said, ``PermissionError`` without the rights."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        text = f"ip {' '.join(arguments)}: {done.stderr.strip()}"
        raise (PermissionError if "not permitted" in text or "denied" in text else OSError)(text)


@contextmanager
def network() -> Iterator[Network]:
    """Make the namespaces, and take them away again.

    Raises:
        PermissionError: When this user may not.
    """
    # Interfaces are called after their namespace, in at most 15 characters.
    made = Network(*(f"{role}{os.getpid()}" for role in ("gth", "gtw", "gts")))
    try:
        for namespace in (made.head, made.worker, made.switch):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", made.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", made.switch, "link", "set", "bridge", "up")
        for namespace, address in ((made.head, HEAD), (made.worker, WORKER)):
            wire = ("link", "add", "wire", "type", "veth", "peer", "name", namespace)
            ip("-n", namespace, *wire, "netns", made.switch)
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", "wire")
            ip("-n", namespace, "link", "set", "wire", "up")
            ip("-n", made.switch, "link", "set", namespace, "master", "bridge", "up")
        yield made
    finally:
        for namespace in (made.head, made.worker, made.switch):
            subprocess.run(["ip", "netns", "del", namespace], stderr=subprocess.DEVNULL)
