"""Loses a node of a three-node cluster with pretended GPUs: python -m ... FOLDER."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ["RAY_AUTH_MODE"] = "disabled"

import ray
from ray.cluster_utils import Cluster

from tests.faults.losing import run_and_lose


def main(folder: Path) -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
    )
    nodes = [cluster.add_node(num_cpus=1, num_gpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False, logging_level="error")
    try:
        run_and_lose(
            folder,
            {"cpu": 1, "gpu": 1},
            lambda: cluster.remove_node(nodes[0], allow_graceful=False),
            lost=lambda: {nodes[0].node_id},
        )
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
