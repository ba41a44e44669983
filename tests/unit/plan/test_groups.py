"""Pod groups: what makes the pods of several StatefulSets instances of a model on several nodes."""

import os
import socket
import subprocess
from typing import Any

from disagg_operator.api.parse import accept
from disagg_operator.build.objects import worker_objects
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import DECODE, PREFILL, Plan
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of, watched
from unit.plan.worker_files import worker_files

PLUGINS = "tensorrt_llm/libs/nixl/plugins"


def planned(annotations: dict[str, str] | None = None, **decode: Any) -> Plan:
    resource = deployment_of(
        {
            "platform": "aws-p5.48xlarge",
            "prefill": {"parallelism": {"tensor": 8}},
            "decode": {"replicas": 3, "nodesPerReplica": 2, "parallelism": {"tensor": 16}, **decode},
        },
        namespace="ns",
        uid="u-1",
        annotations=annotations or {},
    )
    return plan(accept(resource), Installation(worker_image="worker:test"))


def objects(result: Plan, kind: str, role: str = DECODE) -> list[dict[str, Any]]:
    return [
        obj
        for obj in worker_objects(result)
        if obj["kind"] == kind and obj["metadata"]["labels"]["disagg.dev/role"] == role
    ]


def container(result: Plan, role: str = DECODE) -> dict[str, Any]:
    found: dict[str, Any] = objects(result, "StatefulSet", role)[0]["spec"]["template"]["spec"]["containers"][
        0
    ]
    return found


def variables(result: Plan, role: str = DECODE) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(result, role)["env"]}


def test_each_instance_is_a_stateful_set_with_labels_and_pods_of_its_own() -> None:
    result = planned()
    groups = objects(result, "StatefulSet")
    name = f"demo-decode-{result.revision}"
    assert [group["metadata"]["name"] for group in groups] == [f"{name}-0", f"{name}-1", f"{name}-2"]
    for number, group in enumerate(groups):
        assert group["spec"]["replicas"] == 2
        assert group["spec"]["podManagementPolicy"] == "Parallel"
        for labels in (
            group["metadata"]["labels"],
            group["spec"]["selector"]["matchLabels"],
            group["spec"]["template"]["metadata"]["labels"],
        ):
            assert labels["disagg.dev/group"] == str(number)
    (single,) = objects(result, "StatefulSet", PREFILL)
    assert "disagg.dev/group" not in single["metadata"]["labels"]


def test_ranks_resolve_before_they_are_ready_and_only_ready_leaders_are_discovered() -> None:
    result = planned()
    discovery, ranks = objects(result, "Service")
    assert discovery["spec"]["selector"]["apps.kubernetes.io/pod-index"] == "0"
    assert "publishNotReadyAddresses" not in discovery["spec"]
    assert discovery["metadata"]["labels"]["nvidia.com/dynamo-discovery-enabled"] == "true"
    assert ranks["spec"]["publishNotReadyAddresses"] is True
    assert "nvidia.com/dynamo-discovery-enabled" not in ranks["metadata"]["labels"]
    group = objects(result, "StatefulSet")[1]
    assert group["spec"]["serviceName"] == ranks["metadata"]["name"]
    assert variables(result)["DISAGG_LEADER"] == (
        f"demo-decode-{result.revision}-$(DISAGG_GROUP)-0.{ranks['metadata']['name']}"
    )


def test_ranks_come_from_the_pods_index_and_sizes_from_the_specification() -> None:
    found = variables(planned())
    index = {"fieldRef": {"fieldPath": "metadata.labels['apps.kubernetes.io/pod-index']"}}
    assert found["DISAGG_NODE_RANK"] == index
    assert found["DISAGG_GROUP"] == {"fieldRef": {"fieldPath": "metadata.labels['disagg.dev/group']"}}
    assert (found["DISAGG_NODES"], found["DISAGG_WORLD_SIZE"]) == ("2", "16")
    names = list(found)
    assert names.index("DISAGG_GROUP") < names.index("DISAGG_LEADER"), "a reference needs what it refers to"


def test_each_pod_of_a_group_has_a_node_of_its_own() -> None:
    group = objects(planned(), "StatefulSet")[1]
    terms = group["spec"]["template"]["spec"]["affinity"]["podAntiAffinity"][
        "requiredDuringSchedulingIgnoredDuringExecution"
    ]
    (own,) = [term for term in terms if "disagg.dev/group" in term["labelSelector"]["matchLabels"]]
    assert own["topologyKey"] == "kubernetes.io/hostname"
    assert own["labelSelector"]["matchLabels"] == group["spec"]["selector"]["matchLabels"]


def test_only_a_decode_of_several_nodes_gets_the_plugins_of_the_bundled_nixl() -> None:
    """NIXL Plugin ABI Mismatch on Decode Multinode, in Dynamo's page on KV cache transfer."""
    result = planned()
    assert variables(result)["NIXL_PLUGIN_DIR"].endswith(PLUGINS)
    assert "NIXL_PLUGIN_DIR" not in variables(result, PREFILL)
    assert "NIXL_PLUGIN_DIR" not in variables(planned(nodesPerReplica=1, parallelism={"tensor": 8}))


def test_the_workers_command_is_what_the_leader_starts() -> None:
    result = planned()
    command, one_node = (watched(container(result, role)["command"]) for role in (DECODE, PREFILL))
    assert command[:2] == ("bash", "/etc/disagg/launch.sh")
    assert command[2:5] == one_node[:3] == ("python3", "-m", "dynamo.trtllm")


def test_the_leader_gets_the_time_that_the_others_have_to_appear() -> None:
    result = planned()
    startup, single = container(result)["startupProbe"], container(result, PREFILL)["startupProbe"]
    assert startup["exec"]["command"] == ["bash", "/etc/disagg/probe.sh", "9090", "/live"]
    more = (startup["failureThreshold"] - single["failureThreshold"]) * startup["periodSeconds"]
    assert more == 900


def test_pods_see_the_key_of_their_own_role_and_revision() -> None:
    result = planned()
    (secret,) = objects(result, "Secret")
    assert not objects(result, "Secret", PREFILL)
    volumes = objects(result, "StatefulSet")[0]["spec"]["template"]["spec"]["volumes"]
    (volume,) = [each for each in volumes if each["name"] == "ssh-key"]
    assert (
        volume["secret"]["secretName"] == secret["metadata"]["name"] == f"demo-decode-{result.revision}-ssh"
    )
    assert all("The operator makes this key" in text for text in secret["stringData"].values())


def test_another_key_is_another_revision_and_replicas_are_not() -> None:
    revision = planned().revision
    assert planned({"disagg.dev/ssh-key": "2026-12"}).revision != revision
    assert planned(replicas=1).revision == revision
    assert planned(nodesPerReplica=4, gpusPerNode=4).revision != revision


def test_scripts_are_files_of_the_role_that_bash_can_read() -> None:
    found = worker_objects(planned())
    files = worker_files(found, DECODE)
    programs = {"check_worker.py", "watch_output.py"}
    assert files.keys() == {"engine.yaml", *programs, "launch.sh", "session.sh", "probe.sh"}
    for name in ("launch.sh", "session.sh", "probe.sh"):
        subprocess.run(["bash", "-n"], input=files[name], text=True, check=True)
    assert "{{" not in "".join(files.values())
    assert worker_files(found, PREFILL).keys() == {"engine.yaml", *programs}


def test_another_rank_is_well_each_time_that_it_is_asked_while_sshd_listens() -> None:
    script = worker_files(worker_objects(planned()), DECODE)["probe.sh"]
    with socket.create_server(("127.0.0.1", 0)) as sshd:
        # The kernel's tables are those of this machine, where another port is free than the release's.
        here = script.replace(f":{2222:04X} ", f":{sshd.getsockname()[1]:04X} ")
        assert here != script
        assert [probed(here) for _ in range(20)] == [0] * 20
    assert probed(here) != 0


def probed(script: str) -> int:
    environment = {**os.environ, "DISAGG_NODE_RANK": "1"}
    return subprocess.run(["bash", "-c", script], env=environment, check=False).returncode


def test_what_is_a_pods_own_is_not_handed_to_the_others() -> None:
    script = worker_files(worker_objects(planned()), DECODE)["launch.sh"]
    (own,) = {line for line in script.splitlines() if "compgen -e | grep -E " in line}
    for name in ("POD_IP", "POD_NAME", "POD_UID", "HOSTNAME", "DISAGG_NODE_RANK", "NVIDIA_VISIBLE_DEVICES"):
        assert name in own
    assert "FI_PROVIDER" not in own
