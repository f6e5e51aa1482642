from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.cluster_configs.files import load

FOLDER = "kubernetes"
LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
# The fields of monitoring.coreos.com/v1 that a monitor of pods here may use.
PODMONITOR = {
    "type": "object",
    "properties": {
        "selector": {"type": "object", "properties": {"matchLabels": LABELS}},
        "podMetricsEndpoints": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {
                    "port": {"type": "string"},
                    "interval": {"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"},
                    "relabelings": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "sourceLabels": {"type": "array", "items": {"type": "string"}},
                                "targetLabel": {"type": "string"},
                            },
                        },
                    },
                },
            },
        },
    },
    "required": ["selector", "podMetricsEndpoints"],
}


def strict(node: Any) -> Any:
    """Return a schema that refuses unknown fields, which Kubernetes drops without a word."""
    if isinstance(node, dict):
        closed = {key: strict(value) for key, value in node.items()}
        if isinstance(node.get("properties"), dict) and "type" in node:
            closed.setdefault("additionalProperties", False)
        return closed
    return [strict(item) for item in node] if isinstance(node, list) else node


RAYJOB = strict(json.loads((Path(__file__).parent / "schemas/kuberay-rayjob-v1.json").read_text()))
SPEC = RAYJOB["properties"]["spec"]


def within(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a part of KubeRay's schema as a schema of its own."""
    return {**schema, "$defs": RAYJOB["$defs"]}


RAYCLUSTER = within(SPEC["properties"]["rayClusterSpec"])


def claim_schema() -> dict[str, Any]:
    """Return the schema of a volume claim's spec, which the pods' volumes contain."""
    matches: list[dict[str, Any]] = []

    def look(node: Any) -> None:
        if isinstance(node, dict):
            claim = node.get("volumeClaimTemplate")
            if isinstance(claim, dict):
                matches.append(claim)
            for value in node.values():
                look(value)
        elif isinstance(node, list):
            for item in node:
                look(item)

    look(RAYJOB)
    template = matches[0]
    if "$ref" in template:
        template = RAYJOB["$defs"][template["$ref"].rsplit("/", 1)[-1]]
    return within(template["properties"]["spec"])


def cluster_specs() -> list[dict[str, Any]]:
    return [
        load(f"{FOLDER}/rayjob.yaml")["spec"]["rayClusterSpec"],
        load(f"{FOLDER}/raycluster.yaml")["spec"],
    ]


def pods() -> list[dict[str, Any]]:
    return [
        group["template"]
        for spec in cluster_specs()
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"])
    ]


def test_each_file_is_the_kind_it_says_and_fits_its_schema() -> None:
    schemas = {
        ("ray.io/v1", "RayJob"): within(SPEC),
        ("ray.io/v1", "RayCluster"): RAYCLUSTER,
        ("v1", "PersistentVolumeClaim"): claim_schema(),
        ("monitoring.coreos.com/v1", "PodMonitor"): strict(PODMONITOR),
    }
    names = ("rayjob", "raycluster", "storage", "podmonitor")
    documents = [load(f"{FOLDER}/{name}.yaml") for name in names]
    assert [(d["apiVersion"], d["kind"]) for d in documents] == list(schemas)
    for document, schema in zip(documents, schemas.values(), strict=True):
        assert document["metadata"]["name"].startswith("gap-tune")
        jsonschema.validate(document["spec"], schema)


@pytest.mark.parametrize(
    ("find", "replace"),
    [
        ("rayStartParams:", "rayStartParam:"),
        ("minReplicas: 0", "minReplicas: none"),
        ("mode: token", "mode: tokens"),
        ("mountPath: /results", "mountpath: /results"),
        ("groupName: gpu", "name: gpu"),
    ],
)
def test_the_schema_refuses_mistakes(find: str, replace: str) -> None:
    text = yaml.safe_dump(cluster_specs()[0])
    assert find in text
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(text.replace(find, replace)), RAYCLUSTER)


def test_job_and_cluster_are_the_same_cluster() -> None:
    job, cluster = cluster_specs()
    assert job == cluster


def test_gpu_workers_scale_from_none_and_the_head_takes_no_trials() -> None:
    spec = cluster_specs()[0]
    assert spec["enableInTreeAutoscaling"]
    assert spec["authOptions"] == {"mode": "token"}
    head, (workers,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert (workers["minReplicas"], workers["replicas"], workers["maxReplicas"]) == (0, 0, 8)
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert workers["rayStartParams"]["num-cpus"] == "1"
    gpus = [
        group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu")
        for group in (head, workers)
    ]
    assert gpus == [None, 1]


def test_all_pods_mount_the_claim_where_the_study_writes() -> None:
    claim = load(f"{FOLDER}/storage.yaml")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods():
        (volume,) = [v for v in pod["spec"]["volumes"] if "persistentVolumeClaim" in v]
        assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        mounts = {m["name"]: m["mountPath"] for m in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounts[volume["name"]] == "/results"
    assert " /results/" in load(f"{FOLDER}/rayjob.yaml")["spec"]["entrypoint"]


def test_the_monitor_selects_all_pods_and_a_port_that_ray_serves() -> None:
    monitor = load(f"{FOLDER}/podmonitor.yaml")["spec"]
    # KubeRay puts this label on its pods itself.
    labels = {k: v for k, v in monitor["selector"]["matchLabels"].items() if k[:7] != "ray.io/"}
    (endpoint,) = monitor["podMetricsEndpoints"]
    for pod in pods():
        assert labels.items() <= pod["metadata"]["labels"].items()
        ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
        assert ports[endpoint["port"]] == 8080
    for spec in cluster_specs():
        for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
            assert group["rayStartParams"]["metrics-export-port"] == "8080"


def test_pods_run_as_an_ordinary_user_with_a_pinned_image() -> None:
    for pod in pods():
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        image = pod["spec"]["containers"][0]["image"]
        assert image.rpartition(":")[2][0].isdigit()
