"""A driver to be killed that stores a study in S3: python -m ... ADDRESS ENDPOINT BUCKET."""

from __future__ import annotations

import sys
from typing import Any

import pyarrow.fs
import ray

from tests.faults.studies import tuner

PLAN: list[dict[str, Any]] = [{"seed": seed, "pause_s": 0.5} for seed in (0, 1)]


def filesystem(endpoint: str) -> Any:
    """Return the file system of a server that takes any key."""
    return pyarrow.fs.S3FileSystem(
        endpoint_override=endpoint,
        scheme="http",
        region="us-east-1",
        access_key="any",
        secret_key="any",
        allow_bucket_creation=True,
    )


def main(address: str, endpoint: str, bucket: str) -> None:
    ray.init(address=address, log_to_driver=False, logging_level="error")
    tuner(bucket, PLAN, filesystem=filesystem(endpoint)).fit()


if __name__ == "__main__":
    main(*sys.argv[1:])
