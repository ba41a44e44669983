"""TensorRT-LLM's ranks on the cluster: prefill on two nodes and decode on eight, started and ended as wholes.

Pods, names, keys, probes and evictions are the cluster's; launch scripts, ssh and Open MPI are the real ones:
the pods see the programs of this machine. SIMULATED is the engine (`launch/trtllm.py`). All pods are on one
node, so the rule that pods of a group are on different ones is taken away.
"""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster_client import Kubectl, Object, eventually
from e2e.deployments import Deployment
from e2e.draining import drain
from e2e.installation import Installed
from testcluster.console import Progress
from testcluster.paths import default_paths
from testcluster.requirements import MPI_PACKAGES, ensure_packages
from testcluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

NAMESPACE = "disagg-e2e-ranks"
RANKS = 16
NODES = {"prefill": 2, "decode": 8}
SIMULATED = Path(__file__).with_name("launch") / "trtllm.py"
PLUGINS = "NIXL_PLUGIN_DIR"
# https://docs.nvidia.com/dynamo/latest/backends/trtllm/kv-cache-transfer.html, ABI mismatch on decode.
PLUGINS_OF_DECODE = "/usr/local/lib/python3.12/dist-packages/tensorrt_llm/libs/nixl/plugins"
NONE: Object = {"$patch": "delete"}
USERS = "root:x:0:0::/root:/bin/bash\ndynamo:x:65532:65532::/home/disagg:/bin/bash\n"
"""Users of the image: sshd lets nobody in whom it does not know."""
# Programs of this machine, and what they need beside /usr.
OF_THE_MACHINE = ("/usr", "/etc/alternatives", "/etc/openmpi")
START_SECONDS = 240


def pod_template(shared: Path, role: str) -> Object:
    """Return what makes a worker's pod one that can start ranks: this machine's programs, and no GPU."""
    folders = {
        **{f"machine-{index}": path for index, path in enumerate(OF_THE_MACHINE)},
        "shared": str(shared),
    }
    variables = {"PATH": f"{shared}/bin:/usr/bin:/bin", "REPORTS": f"{shared}/{role}"}
    mounts = [
        {"name": name, "mountPath": path, "readOnly": name != "shared"} for name, path in folders.items()
    ]
    return {
        "spec": {
            "affinity": NONE,
            "containers": [
                {
                    "name": "worker",
                    "resources": NONE,
                    "env": [{"name": name, "value": value} for name, value in variables.items()],
                    "volumeMounts": [
                        *mounts,
                        {"name": "users", "mountPath": "/etc/passwd", "subPath": "passwd"},
                    ],
                }
            ],
            "initContainers": [{"name": "preflight", **NONE}],
            "volumes": [
                {"name": "users", "configMap": {"name": "users"}},
                *({"name": name, "hostPath": {"path": path}} for name, path in folders.items()),
            ],
        }
    }


@pytest.fixture(scope="module")
def shared(cluster: Cluster) -> Iterator[Path]:
    """A folder of this machine that all pods see, with the stand-ins for TensorRT-LLM."""
    if cluster.provider != "local":
        pytest.skip("pods see this machine's ssh and Open MPI only with the embedded cluster")
    ensure_packages(MPI_PACKAGES, default_paths(), Progress())
    folder = Path(f"/var/tmp/disagg-ranks-{time.monotonic_ns()}")  # noqa: S108 - the pods have a /tmp of their own
    (folder / "bin").mkdir(parents=True)
    for name in ("trtllm-llmapi-launch", "python3"):
        program = folder / "bin" / name
        program.write_text(f"#!/usr/bin/python3\n{SIMULATED.read_text()}")
        program.chmod(0o755)
    for role in NODES:
        (folder / role).mkdir()
        (folder / role).chmod(0o777)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ranks(installed: Installed, cluster: Cluster, kubectl: Kubectl, shared: Path) -> Iterator[Deployment]:
    """A deployment with sixteen ranks of each role, in a namespace that admits all pods."""
    kubectl("create", "namespace", NAMESPACE)
    kubectl.apply_to(
        NAMESPACE,
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "users"}, "data": {"passwd": USERS}},
    )
    roles = {
        role: {
            "nodesPerReplica": nodes,
            "parallelism": {"tensor": RANKS},
            "podTemplate": pod_template(shared, role),
        }
        for role, nodes in NODES.items()
    }
    resource = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "ranks"},
        "spec": {
            "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
            "platform": "generic",
            "runtime": {"engine": "trtllm", "image": cluster.images["worker"]},
            "frontend": {"replicas": 0},
            "verification": {"mode": "Off"},
            **roles,
        },
    }
    installed.kubectl.apply_to(NAMESPACE, resource)
    deployment = Deployment(installed.kubectl, NAMESPACE, "ranks")
    yield deployment
    deployment.delete()
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def reports(folder: Path) -> dict[int, dict[str, str]]:
    """Return what each rank has reported: its variables."""
    return {
        int(path.stem.removeprefix("rank-")): json.loads(path.read_text())
        for path in folder.glob("rank-*.json")
    }


def started(deployment: Deployment, shared: Path, role: str) -> dict[int, dict[str, str]]:
    """Wait until all ranks of a role have reported and all its pods are ready; return the reports."""

    def all_of_them() -> dict[int, dict[str, str]]:
        found, pods = reports(shared / role), deployment.pods(role)
        assert sorted(found) == list(range(RANKS)), f"{role}: ranks {sorted(found)} have reported"
        ready = [
            condition["status"]
            for pod in pods
            for condition in pod["status"].get("conditions", [])
            if condition["type"] == "Ready"
        ]
        assert ready == ["True"] * NODES[role], f"{role}: {ready}"
        return found

    return eventually(all_of_them, START_SECONDS)


def uids(deployment: Deployment, role: str) -> dict[str, str]:
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in deployment.pods(role)}


def events(deployment: Deployment) -> dict[str, str]:
    """Return the messages of a deployment's Events by reason."""
    about = "--field-selector=involvedObject.kind=DisaggDeployment"
    listed = json.loads(
        deployment.kubectl("get", "events", f"--namespace={deployment.namespace}", "--output=json", about)
    )
    return {each["reason"]: each["message"] for each in listed["items"]}


def test_sixteen_ranks_start_on_two_nodes_and_on_eight(ranks: Deployment, shared: Path) -> None:
    seen = {role: started(ranks, shared, role) for role in NODES}
    for role, nodes in NODES.items():
        slots = RANKS // nodes
        (leader,) = (name for name in uids(ranks, role) if name.endswith("-0"))
        addresses = {pod["metadata"]["name"]: pod["status"]["podIP"] for pod in ranks.pods(role)}
        for number, variables in seen[role].items():
            pod = f"{leader.removesuffix('-0')}-{number // slots}"
            told = {name: variables.get(name) for name in ("UNAME", "POD_NAME", "POD_IP", "DISAGG_NODE_RANK")}
            assert told == {
                "UNAME": pod,
                "POD_NAME": pod,
                "POD_IP": addresses[pod],
                "DISAGG_NODE_RANK": str(number // slots),
            }, f"rank {number} of {role}"
            assert (variables["DISAGG_WORLD_SIZE"], variables["DISAGG_NODES"]) == (str(RANKS), str(nodes))
    assert {variables.get(PLUGINS) for variables in seen["decode"].values()} == {PLUGINS_OF_DECODE}
    assert {variables.get(PLUGINS) for variables in seen["prefill"].values()} == {None}
    assert ranks.condition("PlatformReady")["reason"] != "TooFewNodes", "they may share a node, and do"


def test_a_pod_that_is_evicted_takes_its_group_with_it_which_starts_anew(
    ranks: Deployment, shared: Path
) -> None:
    """The pod of a drained node cannot end before the leader has finished its requests, and all others do."""
    for role in NODES:
        started(ranks, shared, role)
    decode, prefill = uids(ranks, "decode"), uids(ranks, "prefill")
    for report in (shared / "decode").glob("rank-*.json"):
        report.unlink()
    drain(ranks, f"{ranks.selector('decode')},apps.kubernetes.io/pod-index=5")
    assert (shared / "decode" / "drained").exists(), "the engine finished its requests"
    started(ranks, shared, "decode")
    now = uids(ranks, "decode")
    assert now.keys() == decode.keys()
    assert not set(now.values()) & set(decode.values()), "all pods of the group are new"
    assert uids(ranks, "prefill") == prefill, "the other group is left alone"
    told = events(ranks)
    assert "GroupEnding" in told
    assert "GroupRestarted" not in told, f"it was torn down for a dead rank: {told['GroupRestarted']}"
