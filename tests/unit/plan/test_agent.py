"""The transport agent beside each worker."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan import names
from disagg_operator.plan.agent import PORT
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import ROLES, Plan
from disagg_operator.plan.planner import plan
from disagg_operator.plan.programs.source import script
from disagg_operator.reconcile.preflight.pod_security import violations
from unit import deployments

MODEL = {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}}
REFERENCE: dict[str, Any] = {
    "runtime": {"engine": "reference"},
    "model": MODEL,
    "prefill": {},
    "decode": {},
}
OFF: dict[str, Any] = {"verification": {"mode": "Off"}}
LIBFABRIC: dict[str, Any] = {
    "transfer": {"method": "NIXL", "nixlBackend": "LIBFABRIC"},
    "runtime": {"engine": "trtllm", "version": "1.6.1", "image": "own:1-efa"},
}
RACK: dict[str, Any] = {"prefill": {"parallelism": {"tensor": 4}}, "decode": {"parallelism": {"tensor": 4}}}
TRTLLM: dict[str, Any] = {"prefill": {"parallelism": {"tensor": 1}}, "decode": {"parallelism": {"tensor": 8}}}


def pods(planned: Plan) -> dict[str, dict[str, Any]]:
    """Return the pod specifications of all StatefulSets of workers, by name."""
    return {
        obj["metadata"]["name"]: obj["spec"]["template"]["spec"]
        for obj in worker_objects(planned)
        if obj["kind"] == "StatefulSet"
    }


def agents(planned: Plan) -> list[dict[str, Any]]:
    found = [
        container
        for pod in pods(planned).values()
        for container in pod.get("initContainers", [])
        if container["name"] == "transport-agent"
    ]
    assert len(found) in (0, len(pods(planned)))
    return found


def frontend(planned: Plan) -> dict[str, Any]:
    (found,) = [obj for obj in shared_objects(planned) if obj["kind"] == "Deployment"]
    pod: dict[str, Any] = found["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    "planned",
    [
        deployments.planned("local", **REFERENCE),
        deployments.planned("generic", **TRTLLM),
        deployments.planned("aws-p5.48xlarge", **TRTLLM),
        deployments.planned(
            "aws-p5.48xlarge",
            prefill={"parallelism": {"tensor": 1}},
            decode={"nodesPerReplica": 2, "replicas": 2, "parallelism": {"tensor": 16}},
        ),
    ],
    ids=["reference", "trtllm", "efa", "several nodes"],
)
def test_every_worker_of_every_engine_and_rank_has_an_agent_that_cannot_stop_it(planned: Plan) -> None:
    found = agents(planned)
    assert found
    for agent in found:
        assert agent["restartPolicy"] == "Always"
        assert not {"startupProbe", "livenessProbe", "readinessProbe"} & set(agent)
        assert agent["ports"] == [{"name": "agent", "containerPort": PORT.number, "protocol": "TCP"}]
        assert agent["command"][-2:] == ["disagg-worker", "agent"]
    assert all(pod["shareProcessNamespace"] is True for pod in pods(planned).values())
    assert "initContainers" not in frontend(planned)
    assert "shareProcessNamespace" not in frontend(planned)


def test_what_is_not_verified_has_none() -> None:
    planned = deployments.planned("aws-p5.48xlarge", **TRTLLM, **OFF)
    assert agents(planned) == []
    assert planned.verification is None
    assert not any("shareProcessNamespace" in pod for pod in pods(planned).values())


def test_restricted_pods_stay_restricted() -> None:
    planned = deployments.planned("local", **REFERENCE)
    assert [violations(pod) for pod in pods(planned).values()] == [{}, {}]
    security = agents(planned)[0]["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert "runAsUser" not in security, "the pod says it: the engine's own user, whose processes it may read"


def test_an_image_with_a_user_of_its_own_has_an_agent_of_that_user() -> None:
    for agent in agents(deployments.planned("generic", **TRTLLM)):
        security = agent["securityContext"]
        assert (security["runAsUser"], security["runAsNonRoot"]) == (1000, True)
        assert security["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize(("mode", "unconfined"), [("Privileged", True), ("IpcLock", False)])
def test_beside_a_privileged_engine_it_may_look_into_processes_and_no_more(
    mode: str, unconfined: bool
) -> None:
    planned = deployments.planned("aws-p5.48xlarge", **TRTLLM, security={"mode": mode})
    for agent in agents(planned):
        security = dict(agent["securityContext"])
        assert ("appArmorProfile" in security) == unconfined
        security.pop("appArmorProfile", None)
        assert security == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": False,
            "runAsUser": 0,
            "runAsGroup": 0,
            "capabilities": {"drop": ["ALL"], "add": ["SYS_PTRACE"]},
        }


@pytest.mark.parametrize(
    ("resources_", "guaranteed"),
    [
        ({"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"cpu": "2", "memory": "4Gi"}}, True),
        ({"limits": {"cpu": "2", "memory": "4Gi"}}, True),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "4Gi"}}, False),
        ({"requests": {"cpu": "2", "memory": "4Gi"}, "limits": {"memory": "4Gi"}}, False),
        ({"requests": {"cpu": "2"}}, False),
    ],
)
def test_a_guaranteed_pod_stays_guaranteed(resources_: dict[str, Any], guaranteed: bool) -> None:
    planned = deployments.planned("local", **{**REFERENCE, "prefill": {"resources": resources_}})
    (pod,) = [pod for name, pod in pods(planned).items() if "-prefill-" in name]
    found = pod["initContainers"][-1]["resources"]
    assert (found["requests"] == found["limits"]) == guaranteed
    assert set(found["limits"]) == ({"cpu", "memory"} if guaranteed else {"memory"})


def test_another_agent_is_no_other_revision_but_none_is() -> None:
    resource = accept(deployments.trtllm("aws-p5.48xlarge", **TRTLLM))
    one, two = (plan(resource, Installation(image)) for image in ("own:1", "own:2"))
    assert agents(one) != agents(two)
    assert one.revision == two.revision
    assert deployments.planned("aws-p5.48xlarge", **TRTLLM, **OFF).revision != one.revision
    enforced = deployments.planned("aws-p5.48xlarge", **TRTLLM, verification={"mode": "Enforce"})
    assert enforced.revision == one.revision, "only the frontend is another"
    workers = [obj for obj in worker_objects(one) if obj["kind"] == "StatefulSet"]
    assert {obj["spec"]["updateStrategy"]["type"] for obj in workers} == {"OnDelete"}


def test_all_processes_of_the_node_are_not_asked_for_twice() -> None:
    override = {"podTemplate": {"spec": {"hostPID": True}}}
    planned = deployments.planned(
        "aws-p5.48xlarge",
        prefill={"parallelism": {"tensor": 1}, **override},
        decode={"parallelism": {"tensor": 8}},
    )
    for name, pod in pods(planned).items():
        assert ("hostPID" in pod) == ("-prefill-" in name)
        assert ("shareProcessNamespace" in pod) == ("-decode-" in name), "the API server refuses both"


def test_only_enforcing_holds_the_frontend_back() -> None:
    warned = deployments.planned("generic", **TRTLLM)
    enforced = deployments.planned("generic", **TRTLLM, verification={"mode": "Enforce"})
    assert "readinessGates" not in frontend(warned)
    assert frontend(enforced)["readinessGates"] == [{"conditionType": names.CONDITION_TRANSPORT_VERIFIED}]
    assert not any("readinessGates" in pod for pod in pods(enforced).values())


def test_the_reference_engine_shows_its_own_counters() -> None:
    def shown(planned: Plan) -> dict[str, str]:
        return {each["name"]: each.get("value", "") for each in agents(planned)[0]["env"]}

    own = shown(deployments.planned("local", **REFERENCE))
    assert own["DISAGG_ENGINE_METRICS"] == "http://127.0.0.1:9091/metrics"
    assert "DISAGG_ENGINE_METRICS" not in shown(deployments.planned("generic", **TRTLLM))
    assert {"POD_NAME", "POD_NAMESPACE", "NODE_NAME", "DISAGG_MODEL"} <= set(own)


@pytest.mark.parametrize(
    ("platform", "spec", "promised"),
    [
        ("aws-p5.48xlarge", {}, {"UcxSrd"}),
        ("aws-p5.48xlarge", LIBFABRIC, {"LibfabricEfa"}),
        ("aws-p6e-gb200.36xlarge", RACK, {"UcxSrd", "NvLink"}),
        ("gb200-nvl72", RACK, {"NvLink"}),
        ("infiniband", {}, {"UcxRdma", "NvLink"}),
        ("generic", {}, set()),
    ],
)
def test_the_promise_is_the_fabrics(platform: str, spec: dict[str, Any], promised: set[str]) -> None:
    planned = deployments.planned(platform, **{**TRTLLM, **spec})
    assert {each.transport.value for each in planned.promised} == promised
    assert planned.verification
    assert {each.transports for each in planned.verification.promises.values()} == {frozenset(promised)}


def test_the_promise_counts_the_devices_of_each_role() -> None:
    planned = deployments.planned("aws-p5.48xlarge", **TRTLLM, verification={"minimumGBps": 2.5})
    assert planned.verification
    found = {role: planned.verification.promises[role] for role in ROLES}
    assert {role: (each.gpus, each.devices, each.rails) for role, each in found.items()} == {
        "prefill": (1, 4, True),
        "decode": (8, 32, True),
    }
    assert {each.minimum_gbps for each in found.values()} == {2.5}
    shared = deployments.planned("aks-nd-h100-v5", **TRTLLM)
    assert shared.verification
    assert shared.verification.promises["decode"].devices == 0, "one slot stands for all adapters"


def test_it_is_run_again_when_it_ends_and_ends_when_it_is_told(tmp_path: Path) -> None:
    program = script("keep_running.py")
    log = tmp_path / "runs"
    command = f"open({str(log)!r}, 'a').write('x'); raise SystemExit(3)"
    keeper = subprocess.Popen(
        [sys.executable, "-c", program, "0.05", sys.executable, "-c", command],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 20
    while (not log.exists() or len(log.read_text()) < 2) and time.monotonic() < deadline:
        time.sleep(0.05)
    keeper.terminate()
    _, said = keeper.communicate(timeout=20)
    assert len(log.read_text()) >= 2
    assert "ended with code 3; it is run again in 0.05 s" in said
    assert keeper.returncode == 0


def test_a_command_that_is_not_there_is_no_end(tmp_path: Path) -> None:
    program = script("keep_running.py")
    keeper = subprocess.Popen(
        [sys.executable, "-c", program, "0.01", str(tmp_path / "nothing")], stderr=subprocess.PIPE, text=True
    )
    assert keeper.stderr
    assert "cannot be run" in keeper.stderr.readline()
    assert keeper.poll() is None
    keeper.terminate()
    keeper.communicate(timeout=20)


def test_where_adapters_count_bytes_in_the_nodes_sys_alone_the_agent_sees_that() -> None:
    plan_ = deployments.planned("coreweave-h100", 8)
    for pod in pods(plan_).values():
        assert {"name": "node-sys", "hostPath": {"path": "/sys", "type": "Directory"}} in pod["volumes"]
        (engine,) = pod["containers"]
        assert "node-sys" not in str(engine["volumeMounts"]), "the engine does not"
    for agent in agents(plan_):
        assert agent["volumeMounts"] == [{"name": "node-sys", "mountPath": "/node/sys", "readOnly": True}]
        assert {"name": "DISAGG_AGENT_SYS_ROOT", "value": "/node/sys"} in agent["env"]


def test_pods_that_keep_to_the_restricted_standard_get_nothing_of_the_node() -> None:
    restricted = deployments.planned("coreweave-h100", 8, security={"mode": "Restricted"})
    assert "node-sys" not in str(pods(restricted))
    assert "node-sys" not in str(pods(deployments.planned("aws-p5.48xlarge", 8))), "EFA's are told by netlink"


def test_on_nvlink_the_agent_asks_nvml_of_the_nodes_gpus() -> None:
    for agent in agents(deployments.planned("gb200-nvl72", 4)):
        assert {"name": "NVIDIA_VISIBLE_DEVICES", "value": "all"} in agent["env"]
        assert {"name": "NVIDIA_DRIVER_CAPABILITIES", "value": "utility"} in agent["env"]
    assert "NVIDIA_VISIBLE_DEVICES" not in str(agents(deployments.planned("aws-p5.48xlarge", 8)))
