"""trtllm-serve: workers and lists outlast the orchestrators that have them, and the key is made once."""

from typing import Any

import yaml

from disagg_operator.reconcile.kinds import Object
from unit.reconcile.fake_cluster import MADE, FakeCluster, deployment, maker_of_pods
from unit.reconcile.test_reconciler import converge, drive

ONE = {"readyReplicas": 1, "availableReplicas": 1}
FRONTEND = {"disagg.dev/role": "frontend", "disagg.dev/deployment": "demo"}


def serve(version: str = "1.2.1", **spec: Any) -> FakeCluster:
    """Return a deployment whose workers have a GPU each."""
    return FakeCluster(
        deployment(
            platform="generic",
            runtime={"frontend": "trtllm-serve", "version": version},
            **{"prefill": {"parallelism": {"tensor": 1}}, "decode": {"parallelism": {"tensor": 1}}, **spec},
        )
    )


def lists(cluster: FakeCluster) -> dict[str, int]:
    """Return how many decode workers each ConfigMap of the frontend lists, by its name."""
    return {
        name: yaml.safe_load(obj["data"]["orchestrator.yaml"])["generation_servers"]["num_instances"]
        for (kind, name), obj in cluster.objects.items()
        if kind == "ConfigMap" and obj["metadata"]["labels"]["disagg.dev/role"] == "frontend"
    }


def mounted(cluster: FakeCluster) -> str:
    """Return the ConfigMap that new orchestrators have."""
    volumes = cluster.objects["Deployment", "demo-frontend"]["spec"]["template"]["spec"]["volumes"]
    (name,) = [volume["configMap"]["name"] for volume in volumes if volume["name"] == "config"]
    return str(name)


def decode(cluster: FakeCluster) -> list[Object]:
    """Return the StatefulSets of decode that are to stay."""
    return [
        obj
        for (kind, _), obj in cluster.objects.items()
        if kind == "StatefulSet"
        and obj["metadata"]["labels"]["disagg.dev/role"] == "decode"
        and "deletionTimestamp" not in obj["metadata"]
    ]


def instances(cluster: FakeCluster) -> int:
    """Return the decode instances that there are to be."""
    found = decode(cluster)
    grouped = "disagg.dev/group" in found[0]["metadata"]["labels"]
    return len(found) if grouped else int(found[0]["spec"]["replicas"])


def go_on(cluster: FakeCluster, frontend: Object) -> None:
    """Let Kubernetes work, but leave the orchestrators as they are."""
    cluster.settle()
    cluster.objects["Deployment", "demo-frontend"]["status"] = frontend
    drive(cluster)


def scaled_down(cluster: FakeCluster, before: int) -> None:
    """Scale decode to one, and see that its workers stay as long as an orchestrator has them in its list."""
    converge(cluster)
    old = mounted(cluster)
    assert lists(cluster) == {old: before}
    cluster.edit(decode={"replicas": 1})
    drive(cluster)
    new = mounted(cluster)
    assert lists(cluster) == {old: before, new: 1}
    stages = [
        {"replicas": 1, "updatedReplicas": 0, "observedGeneration": 1, **ONE},
        {"replicas": 2, "updatedReplicas": 1, "observedGeneration": 2, **ONE},
    ]
    for stage in stages:
        go_on(cluster, stage)
        assert instances(cluster) == before
    ending = {"name": "demo-frontend-1", "labels": FRONTEND, "ownerReferences": [{"uid": "none"}]}
    cluster.objects["Pod", "demo-frontend-1"] = {
        "kind": "Pod",
        "metadata": {**ending, "deletionTimestamp": "2999-01-01T00:00:00Z"},
    }
    last = {"replicas": 1, "updatedReplicas": 1, "observedGeneration": 2, **ONE}
    go_on(cluster, last)
    assert instances(cluster) == before
    assert old in lists(cluster), "its container may be started anew while it finishes its requests"
    del cluster.objects["Pod", "demo-frontend-1"]
    go_on(cluster, last)
    assert instances(cluster) == 1
    assert lists(cluster) == {new: 1}
    converge(cluster)
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_workers_stay_until_no_orchestrator_has_them_in_its_list() -> None:
    scaled_down(serve(decode={"replicas": 3, "parallelism": {"tensor": 1}}), 3)


def test_so_do_groups() -> None:
    group = {"replicas": 2, "nodesPerReplica": 2, "gpusPerNode": 1, "parallelism": {"tensor": 2}}
    scaled_down(serve(decode=group), 2)


def test_more_workers_start_before_an_orchestrator_knows_them() -> None:
    cluster = serve()
    converge(cluster)
    cluster.edit(decode={"replicas": 3})
    drive(cluster)
    assert instances(cluster) == 3
    assert set(lists(cluster).values()) == {1, 3}
    converge(cluster)
    assert lists(cluster) == {mounted(cluster): 3}


def test_workers_in_etcd_are_held_back_by_no_list() -> None:
    cluster = serve(
        discovery={"etcd": {"endpoints": ["http://etcd:2379"]}},
        decode={"replicas": 3, "parallelism": {"tensor": 1}},
    )
    converge(cluster)
    before = mounted(cluster)
    cluster.edit(decode={"replicas": 1})
    drive(cluster)
    assert instances(cluster) == 1
    assert mounted(cluster) == before, "orchestrators find out by themselves"


def test_a_new_revision_starts_once_the_old_one_is_gone_and_has_a_list_of_its_own() -> None:
    cluster = serve()
    converge(cluster)
    (old,) = decode(cluster)
    # No orchestrator is ready as long as its workers are not.
    cluster.healthy = lambda name: name != "demo-frontend"
    cluster.edit(runtime={"image": "own:2"})
    seen = []
    for _ in range(10):
        drive(cluster)
        seen.append({obj["metadata"]["name"] for obj in decode(cluster)})
        cluster.settle()
    assert all(len(each) <= 1 for each in seen)
    (new,) = seen[-1]
    assert new != old["metadata"]["name"]
    cluster.healthy = lambda _: True
    converge(cluster)
    (listed,) = lists(cluster)
    urls = yaml.safe_load(cluster.objects["ConfigMap", listed]["data"]["orchestrator.yaml"])
    assert [url.split(".")[0] for url in urls["generation_servers"]["urls"]] == [f"{new}-0"]


def test_the_key_is_made_once_before_who_needs_it_and_offered_again_while_a_pod_waits() -> None:
    cluster = serve("1.4.0rc1")
    drive(cluster)
    order = [name for verb, name in cluster.writes if verb in ("apply", "create")]
    assert order.index("Secret demo-request-key") < order.index("Deployment demo-frontend")
    (secret,) = cluster.secrets.values()
    assert len(secret["stringData"]["key"]) == 64
    assert [owner["name"] for owner in secret["metadata"]["ownerReferences"]] == ["demo"]
    converge(cluster)
    cluster.edit(decode={"replicas": 2})
    converge(cluster)
    assert list(cluster.secrets.values()) == [secret]
    cluster.secrets.clear()
    drive(cluster)
    assert not cluster.secrets, "nobody waits for it"
    waiting = {
        "kind": "Pod",
        "metadata": {
            "name": "demo-frontend-2",
            "uid": "waiting",
            "labels": FRONTEND,
            "creationTimestamp": MADE,
            "ownerReferences": [maker_of_pods(cluster.objects["Deployment", "demo-frontend"])],
        },
        "status": {"conditions": [{"type": "PodScheduled", "status": "True"}]},
    }
    cluster.objects["Pod", "demo-frontend-2"] = waiting
    assert drive(cluster).again == 10
    (again,) = cluster.secrets.values()
    assert again["stringData"] != secret["stringData"]
