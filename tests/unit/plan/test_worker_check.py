"""What is looked for in a worker's pod before its engine starts, and by which container."""

import json
from typing import Any

import pytest

from disagg_operator.build.objects import worker_objects
from disagg_operator.plan.model import DECODE, PREFILL, Plan
from unit.deployments import planned

NIXL_PLUGIN_DIR = "NIXL_PLUGIN_DIR"
P5 = {"platform": "aws-p5.48xlarge"}
CONTAINER = "worker"


def asked(plan: Plan, role: str = PREFILL) -> dict[str, Any]:
    check = plan.roles[role].pod.check
    return {} if check is None else dict(check.asked)


def containers(plan: Plan) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the check and the engine of each kind of worker pod."""
    found = []
    for obj in worker_objects(plan):
        if obj["kind"] == "StatefulSet":
            spec = obj["spec"]["template"]["spec"]
            (check,) = (each for each in spec["initContainers"] if each["name"] == "preflight")
            (engine,) = spec["containers"]
            found.append((check, engine))
    return found


def test_on_efa_devices_pinned_memory_gpus_and_nixl_are_looked_for() -> None:
    found = asked(planned("aws-p5.48xlarge", 2))
    assert found == {
        "fabricDevices": 8,
        "lockedMemory": True,
        "sharedMemory": 80 << 30,
        "gpus": 2,
        "nixlBackend": "UCX",
    }


def test_a_machine_without_fabric_is_asked_for_its_gpus_and_nixl() -> None:
    found = asked(planned("generic", 1))
    assert {key: found[key] for key in ("gpus", "nixlBackend")} == {"gpus": 1, "nixlBackend": "UCX"}
    assert not {"fabricDevices", "lockedMemory", "imexChannel", "efaSdk"} & found.keys()


REFERENCE: dict[str, Any] = {
    "runtime": {"engine": "reference"},
    "model": {"name": "m", "source": {"runtimeImage": {"path": "/m"}}},
    "gpus": 1,
}
INFINIBAND = {**REFERENCE, "platform": "infiniband"}


def test_where_rdma_is_all_that_kv_cache_can_take_a_device_is_looked_for_first() -> None:
    found = asked(planned(**INFINIBAND))
    assert next(iter(found)) == "rdmaDevice"
    assert "fabricDevices" not in found
    assert "rdmaDevice" not in asked(planned(**INFINIBAND, env=[{"name": "UCX_TLS", "value": "tcp"}]))
    assert "rdmaDevice" not in asked(planned(**REFERENCE))


@pytest.mark.parametrize("mode", ["IpcLock", "Privileged"])
def test_capabilities_of_our_own_image_have_an_effect(mode: str) -> None:
    """Kubernetes makes those of a process effective that user 0 runs, and no other's."""
    for pod in containers(planned(**INFINIBAND, security={"mode": mode})):
        for container in pod:
            context = container["securityContext"]
            assert (context["runAsUser"], context["runAsNonRoot"]) == (0, False)


def test_an_image_with_a_user_of_its_own_keeps_it_and_what_needs_no_privilege_gets_none() -> None:
    for plan in (planned("aws-p5.48xlarge", 2), planned(**REFERENCE)):
        for _, engine in containers(plan):
            assert "runAsUser" not in engine["securityContext"]


def test_where_a_slot_gives_all_adapters_one_must_be_there() -> None:
    assert asked(planned("coreweave-h100", 8))["fabricDevices"] == 1


def test_a_rack_is_asked_for_its_channel() -> None:
    assert asked(planned("gb200-nvl72", 4))["imexChannel"] is True


def test_the_mounted_efa_sdk_is_looked_for_on_arm64() -> None:
    found = asked(planned("aws-p6e-gb200.36xlarge", 4, runtime={"version": "1.1.1"}))
    assert found["efaSdk"] == "/opt/amazon/efa"


def test_libfabric_is_held_against_what_gb200_needs_only_where_it_moves_kv_cache() -> None:
    image = {"version": "1.6.1", "image": "own:1.6.1-efa"}
    moved = planned("aws-p6e-gb200.36xlarge", 4, runtime=image, transfer={"nixlBackend": "LIBFABRIC"})
    assert asked(moved)["libfabric"] == "2.5.1"
    assert "libfabric" not in asked(planned("aws-p6e-gb200.36xlarge", 4, runtime=image))


def test_several_nodes_of_decode_load_tensorrt_llms_own_plugin() -> None:
    """Seed 002: mgmn_worker_node loads TRT-LLM's bundled NIXL, the system's plugins do not fit it."""
    several = {"parallelism": {"tensor": 16}, "gpusPerNode": 8, "nodesPerReplica": 2}
    plan = planned("aws-p5.48xlarge", 8, decode=several)
    (folder,) = (each.value for each in plan.roles[DECODE].pod.environment if each.name == NIXL_PLUGIN_DIR)
    assert asked(plan, DECODE)["nixlPlugin"] == f"{folder}/libplugin_UCX.so"
    assert "nixlPlugin" not in asked(plan, PREFILL)
    assert asked(plan, PREFILL)["nixlBackend"] == "UCX"


def test_shared_memory_is_no_larger_than_the_pods_and_not_looked_at_where_the_user_mounts_it() -> None:
    small = {"parallelism": {"tensor": 2}, "resources": {"limits": {"memory": "16Gi"}}}
    assert asked(planned("aws-p5.48xlarge", 2, prefill=small))["sharedMemory"] == 16 << 30
    own = {"spec": {"volumes": [{"name": "shared-memory", "emptyDir": {"medium": "Memory"}}]}}
    mounted = {"parallelism": {"tensor": 2}, "podTemplate": own}
    assert "sharedMemory" not in asked(planned("aws-p5.48xlarge", 2, prefill=mounted))


def test_devices_are_not_counted_where_the_user_says_what_the_container_is_given() -> None:
    own = {"spec": {"containers": [{"name": CONTAINER, "resources": {"$patch": "delete"}}]}}
    found = asked(planned("aws-p5.48xlarge", 2, prefill={"parallelism": {"tensor": 2}, "podTemplate": own}))
    assert not {"gpus", "fabricDevices"} & found.keys()
    assert found["lockedMemory"] is True


def test_nothing_is_looked_for_where_nothing_is_verified() -> None:
    assert planned(verification={"mode": "Off"}).roles[PREFILL].pod.check is None


def test_the_check_has_all_that_the_engine_has_and_comes_first() -> None:
    for check, engine in containers(planned("gb200-nvl72", 4)):
        for key in ("image", "env", "resources", "securityContext", "volumeMounts"):
            assert check.get(key) == engine.get(key), key
        assert json.loads(check["command"][-1])["imexChannel"] is True
        assert "restartPolicy" not in check


def test_what_the_user_changes_of_the_engine_holds_for_its_check() -> None:
    overlay = {
        "spec": {"containers": [{"name": CONTAINER, "image": "mine:1", "env": [{"name": "A", "value": "1"}]}]}
    }
    workers = {"parallelism": {"tensor": 1}, "podTemplate": overlay}
    for check, _ in containers(planned(gpus=1, prefill=workers, decode=workers)):
        assert check["image"] == "mine:1"
        assert {"name": "A", "value": "1"} in check["env"]


def test_the_user_can_take_the_check_away() -> None:
    overlay = {"spec": {"initContainers": [{"name": "preflight", "$patch": "delete"}]}}
    workers = {"parallelism": {"tensor": 1}, "podTemplate": overlay}
    pods = [
        obj
        for obj in worker_objects(planned(gpus=1, prefill=workers, decode=workers))
        if obj["kind"] == "StatefulSet"
    ]
    assert len(pods) == 2
    for pod in pods:
        spec = pod["spec"]["template"]["spec"]
        assert "check_worker.py" not in str([spec["containers"], spec.get("initContainers")])


@pytest.mark.parametrize("platform", ["aws-p5.48xlarge", "generic"])
def test_another_check_is_no_other_revision(platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = planned(platform).revision
    monkeypatch.setattr("disagg_operator.plan.worker_check.script", lambda _: "pass")
    assert planned(platform).revision == before


def test_the_verdict_is_told_of_a_variable_that_excludes_what_is_promised() -> None:
    own = {"parallelism": {"tensor": 1}, "env": [{"name": "UCX_TLS", "value": "tcp"}]}
    verification = planned(**INFINIBAND, decode=own).verification
    assert verification is not None
    assert verification.promises[DECODE].excluded_by == "spec.decode.env sets UCX_TLS=tcp"
    assert not verification.promises[PREFILL].excluded_by
