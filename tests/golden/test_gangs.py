"""Every API of gang scheduling gets the objects beside this file. ``make update-golden`` writes them anew.

Shown is what concerns the scheduler: of the first group's StatefulSet its labels, and its pods' labels,
annotations, affinity and membership; and the object that asks for all or none.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.build.objects import worker_objects
from disagg_operator.plan.cluster import ClusterFacts
from disagg_operator.plan.gang import APIS, GangApi
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.planner import plan

GOLDEN = Path(__file__).parent / "gangs"
SHOWN = ("schedulerName", "schedulingGroup", "workloadRef", "affinity")
SPEC = {
    "model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
    "platform": "aws-p5.48xlarge",
    "prefill": {"parallelism": {"tensor": 8}},
    "decode": {"nodesPerReplica": 2, "parallelism": {"tensor": 16}},
}


class _Plain(yaml.SafeDumper):
    """Writes what is there twice twice, and not as an alias."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True


def name_of(api: GangApi) -> str:
    return f"{api.scheduler.lower()}-{api.api_version.partition('/')[2]}"


def scheduling(obj: dict[str, Any]) -> dict[str, Any]:
    if obj["kind"] != "StatefulSet":
        return obj
    pods = obj["spec"]["template"]
    spec = {key: pods["spec"][key] for key in SHOWN if key in pods["spec"]}
    template = {"metadata": pods["metadata"], "spec": spec}
    shown = {"replicas": obj["spec"]["replicas"], "template": template}
    return {**obj, "metadata": {key: obj["metadata"][key] for key in ("name", "labels")}, "spec": shown}


def rendered(api: GangApi) -> str:
    queue = {"queue": "team-a"} if api.scheduler in ("Kueue", "KAI") else {}
    placement = {
        "group": {"topologyKey": "topology.k8s.aws/network-node-layer-3"},
        "gang": {"scheduler": api.scheduler.value, **queue},
    }
    metadata = {"name": "demo", "namespace": "default"}
    resource = {"apiVersion": "disagg.dev/v1alpha1", "kind": "DisaggDeployment", "metadata": metadata}
    accepted = accept({**resource, "spec": {**SPEC, "placement": placement}})
    planned = plan(accepted, Installation("worker:test"), ClusterFacts(gang_apis=(api,)))
    groups = [
        scheduling(obj)
        for obj in worker_objects(planned)
        if obj["metadata"]["labels"].get("disagg.dev/group") == "0"
    ]
    return yaml.dump_all(groups, Dumper=_Plain, sort_keys=False)


@pytest.mark.parametrize("api", APIS, ids=name_of)
def test_objects_of_a_group(api: GangApi) -> None:
    golden = GOLDEN / f"{name_of(api)}.yaml"
    if "UPDATE_GOLDEN" in os.environ:
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(rendered(api))
    assert rendered(api) == golden.read_text()


def test_there_is_no_golden_file_without_its_api() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == {name_of(api) for api in APIS}
