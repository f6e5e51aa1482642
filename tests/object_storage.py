"""A server on this machine that speaks S3, and what clients of it need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow.fs
from moto.server import ThreadedMotoServer

from tests.patience import FOREVER_S

# It takes any key.
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


@contextmanager
def serving() -> Iterator[str]:
    """Run the server; yield where, as host and port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


def filesystem(endpoint: str) -> Any:
    """Return the server's file system."""
    return pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint,
        scheme="http",
        region="us-east-1",
        access_key="any",
        secret_key="any",
        allow_bucket_creation=True,
        connect_timeout=FOREVER_S,
        request_timeout=FOREVER_S,
    )


def uri(endpoint: str, path: str) -> str:
    """Return the URI of a path there."""
    return f"s3://{path}?endpoint_override={endpoint}&scheme=http&region=us-east-1"
