from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray.autoscaler
from ray.autoscaler._private.node_provider_availability_tracker import NodeAvailabilitySummary
from ray.autoscaler._private.resource_demand_scheduler import (
    _default_utilization_scorer,
    get_nodes_for,
)
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.cluster_configs.files import load

CLOUDS = ["aws.yaml", "gcp.yaml", "azure.yaml"]
ALL = [*CLOUDS, "onprem.yaml"]
SCHEMA = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())


@pytest.mark.parametrize("name", ALL)
def test_ray_accepts_the_file_and_what_it_makes_of_it(name: str) -> None:
    jsonschema.validate(load(name), SCHEMA)
    validate_config(prepare_config(load(name)))


@pytest.mark.parametrize("name", ALL)
def test_the_schema_refuses_a_mistyped_key(name: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**load(name), "idle_timeout_minute": 5}, SCHEMA)


@pytest.mark.parametrize("name", CLOUDS)
def test_trials_that_wait_bring_up_workers_and_nothing_else(name: str) -> None:
    config = prepare_config(load(name))
    head = config["head_node_type"]
    launched, waiting = get_nodes_for(
        config["available_node_types"],
        {head: 1},
        head,
        config["max_workers"],
        # What the trials of a study ask for.
        [{"CPU": 1}] * 20,
        lambda *demand: _default_utilization_scorer(
            *demand, node_availability_summary=NodeAvailabilitySummary({})
        ),
    )
    assert dict(launched) == {"worker": 8}
    assert len(waiting) == 12


@pytest.mark.parametrize("name", CLOUDS)
def test_head_has_no_gpu_and_takes_no_trials(name: str) -> None:
    config = load(name)
    nodes = config["available_node_types"]
    assert nodes["head"]["resources"] == {"CPU": 0}
    assert nodes["worker"]["resources"] == {"CPU": 1, "GPU": 1}
    assert nodes["worker"]["min_workers"] == 0
    assert "--num-cpus=0" in config["head_start_ray_commands"][-1]
    assert "--num-cpus=1 --num-gpus=1" in config["worker_start_ray_commands"][-1]
    assert not spot(nodes["head"]["node_config"])
    assert spot(nodes["worker"]["node_config"])


def spot(node: dict[str, Any]) -> bool:
    """Say whether a machine of AWS, Google Cloud or Azure is a spot machine."""
    return (
        node.get("InstanceMarketOptions") == {"MarketType": "spot"}
        or {"preemptible": True} in node.get("scheduling", [])
        or node.get("azure_arm_parameters", {}).get("priority") == "Spot"
    )


@pytest.mark.parametrize("name", ALL)
def test_authentication_is_on_for_all_nodes_with_the_users_own_token(name: str) -> None:
    config = load(name)
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert commands[-1].count("RAY_AUTH_MODE=token ~/venv/bin/ray start") == 1
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])


@pytest.mark.parametrize("name", ALL)
def test_studies_lie_on_storage_that_every_node_mounts(name: str) -> None:
    mounts = [command for command in load(name)["setup_commands"] if "mountpoint -q" in command]
    assert len(mounts) == 1
    assert "/shared" in mounts[0]


def test_own_machines_are_all_used() -> None:
    config = prepare_config(load("onprem.yaml"))
    (node,) = config["available_node_types"].values()
    assert node["min_workers"] == node["max_workers"] == len(config["provider"]["worker_ips"])
    assert "--num-cpus=0 --num-gpus=0" in config["head_start_ray_commands"][-1]
