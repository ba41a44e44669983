"""When the transport is measured, what is reported of it, and who may serve because of it.

Whole reconciles on the fake cluster, with a SIMULATED verifier that answers what a test gives it.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from disagg_operator.api.v1alpha1.status import TransportStatus
from disagg_operator.cli.waiting import wait_of
from disagg_operator.plan.names import ALL, CONDITION_TRANSPORT_VERIFIED, LABEL_REACH
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.verification.verifier import Truth, VerificationResult
from unit.reconcile.fake_cluster import MADE, Crash, FakeCluster, FakeVerifier, deployment, maker_of_pods
from unit.reconcile.test_reconciler import converge, drive

ENFORCE: dict[str, Any] = {"verification": {"mode": "Enforce"}}
NOW = datetime.now(UTC).replace(microsecond=0)


def found(verified: Truth = "True", reason: str = "", time: datetime = NOW) -> VerificationResult:
    reasons = {"True": "Verified", "False": "WorseTransport", "Unknown": "NothingMoved"}
    return VerificationResult(
        verified=verified,
        reason=reason or reasons[verified],
        message=f"It is {verified}.",
        time=time,
        label="" if verified == "Unknown" else "NIXL/UCX tcp",
        role_labels={} if verified == "Unknown" else {"prefill": "NIXL/UCX tcp", "decode": "NIXL/UCX tcp"},
        bytes=990,
        expected_bytes=1000,
        gbps=1.5,
        devices_used=3,
        devices_given=4,
        confidence="High",
        evidence=("eth0 sent 990 bytes",),
    )


def pod(owner: Object, address: str) -> Object:
    """Return the running pod of a workload, as the kubelet reports it."""
    template = owner["spec"]["template"]
    ready = [{"type": kind, "status": "True"} for kind in ("ContainersReady", "PodScheduled")]
    gated = template["spec"].get("readinessGates", [])
    reach = template["metadata"]["labels"].get(LABEL_REACH, "0")
    name = f"{owner['metadata']['name']}-{reach}-{len(gated)}"
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": "ns",
            "labels": template["metadata"]["labels"],
            "uid": f"uid-of-{name}",
            "creationTimestamp": MADE,
            "ownerReferences": [maker_of_pods(owner)],
        },
        "spec": {"readinessGates": gated},
        "status": {
            "podIP": address,
            "conditions": [*ready, *([] if gated else [{"type": "Ready", "status": "True"}])],
        },
    }


def kubelet(cluster: FakeCluster) -> None:
    """STAND-IN for the kubelet: each workload has a running pod, and frontends mind their readiness gates.

    For Deployments as well: a frontend of an older template goes once that of the newest is ready, or before
    where its Deployment lets it.
    """
    for (kind, _), owner in list(cluster.objects.items()):
        if kind in ("StatefulSet", "Deployment") and "deletionTimestamp" not in owner["metadata"]:
            made = pod(owner, f"10.0.0.{len(cluster.objects)}")
            key = ("Pod", made["metadata"]["name"])
            cluster.objects.setdefault(key, made)
            if kind == "Deployment":
                goes = is_open(gate(cluster.objects[key])) or gives_way(cluster)
                for address in frontends(cluster):
                    if address != key and goes:
                        del cluster.objects[address]
                alone = frontends(cluster) == [key]
                cluster.rolled_out = lambda alone=alone: alone  # type: ignore[misc]
    serving = frontend(cluster)
    cluster.healthy = lambda name: not name.endswith("-frontend") or is_open(serving)


def frontends(cluster: FakeCluster) -> list[tuple[str, str]]:
    return [key for key in cluster.objects if key[0] == "Pod" and key[1].startswith("demo-frontend-")]


def gives_way(cluster: FakeCluster) -> bool:
    """Tell whether frontends go before others of a newer template are ready."""
    strategy = cluster.objects["Deployment", "demo-frontend"]["spec"]["strategy"]["rollingUpdate"]
    assert strategy["maxUnavailable"] in (0, "100%")
    return bool(strategy["maxUnavailable"])


def gate(pod: Object) -> str | None:
    """Return the status of a frontend's readiness gate: nothing where it is not set, None without one."""
    if not pod["spec"]["readinessGates"]:
        return None
    conditions = {each["type"]: each["status"] for each in pod["status"]["conditions"]}
    status: str = conditions.get(CONDITION_TRANSPORT_VERIFIED, "")
    return status


def is_open(status: str | None) -> bool:
    return status in (None, "True")


def frontend(cluster: FakeCluster) -> str | None:
    """Return the gate of a frontend that serves; of any where none does."""
    found = [gate(cluster.objects[key]) for key in frontends(cluster)]
    return next(iter([status for status in found if is_open(status)] or found), None)


def rounds(cluster: FakeCluster, count: int = 4) -> None:
    for _ in range(count):
        kubelet(cluster)
        cluster.settle()
        drive(cluster)
    kubelet(cluster)
    converge(cluster)


def running(**spec: Any) -> FakeCluster:
    cluster = FakeCluster(deployment(**spec))
    rounds(cluster)
    return cluster


def status(cluster: FakeCluster) -> dict[str, Any]:
    assert cluster.resource
    kept: dict[str, Any] = cluster.resource["status"]
    return kept


def verified(cluster: FakeCluster) -> tuple[str, str]:
    condition = cluster.condition("TransportVerified")
    return condition["status"], condition["reason"]


def answer(cluster: FakeCluster, result: VerificationResult) -> list[str]:
    """Let the verifier find something; return the Events that this is worth."""
    cluster.verifier.result = result
    cluster.writes.clear()
    kubelet(cluster)
    drive(cluster)
    events = [name for verb, name in cluster.writes if verb == "event"]
    rounds(cluster)
    return events


def annotate(cluster: FakeCluster, text: str) -> None:
    assert cluster.resource
    cluster.resource["metadata"].setdefault("annotations", {})["disagg.dev/verify"] = text


def restarted(cluster: FakeCluster) -> None:
    """Another operator process leads, whose verifier knows nothing."""
    cluster.verifier = FakeVerifier()


def test_it_is_measured_once_all_is_ready() -> None:
    cluster = FakeCluster(deployment())
    drive(cluster)
    assert verified(cluster) == ("Unknown", "WorkersNotReady")
    cluster.settle()
    drive(cluster)
    assert verified(cluster) == ("Unknown", "FrontendNotReady")
    assert cluster.verifier.asked == []
    rounds(cluster)
    assert verified(cluster) == ("Unknown", "Measuring")
    assert status(cluster)["transport"] == {
        "configured": "NIXL/UCX",
        "summary": "NIXL/UCX",
        "step": "counting",
    }
    (asked,) = cluster.verifier.asked
    assert asked.revision == status(cluster)["revision"]
    assert {worker.role for worker in asked.workers} == {"prefill", "decode"}
    assert {worker.container for worker in asked.workers} == {"worker"}
    (url,) = asked.frontends
    assert url.startswith("http://10.0.0.")
    assert url.endswith(":8000")
    assert (asked.request, asked.after, asked.shared, asked.canary) == ("", None, False, True)


def test_a_result_is_reported_and_not_asked_for_again_by_anybody() -> None:
    cluster = running()
    assert answer(cluster, found()) == ["Verified"]
    assert verified(cluster) == ("True", "Verified")
    transport = status(cluster)["transport"]
    assert transport["summary"] == transport["observed"] == "NIXL/UCX tcp"
    assert (transport["bytes"], transport["expectedBytes"], transport["gbps"]) == (990, 1000, 1.5)
    assert (transport["devicesUsed"], transport["devicesGiven"]) == (3, 4)
    assert transport["revision"] == transport["verifiedRevision"] == status(cluster)["revision"]
    assert "step" not in transport
    roles = status(cluster)["roles"]
    assert {role: roles[role].get("transport") for role in roles} == {
        "prefill": "NIXL/UCX tcp",
        "decode": "NIXL/UCX tcp",
        "frontend": None,
    }
    restarted(cluster)
    rounds(cluster)
    assert cluster.verifier.asked == []
    assert status(cluster)["transport"] == transport
    assert status(cluster)["roles"] == roles


def test_a_worse_transport_is_loud_and_harms_nobody() -> None:
    cluster = running()
    assert answer(cluster, found("False")) == ["WorseTransport"]
    assert verified(cluster) == ("False", "WorseTransport")
    assert cluster.condition("Available")["status"] == "True"
    assert "verifiedRevision" not in status(cluster)["transport"]


def test_what_could_not_be_told_is_no_failure_and_is_looked_for_on() -> None:
    cluster = running()
    assert answer(cluster, found("Unknown")) == []
    assert verified(cluster) == ("Unknown", "NothingMoved")
    assert status(cluster)["transport"]["summary"] == "NIXL/UCX"
    assert cluster.condition("Available")["status"] == "True"
    cluster.verifier.result = found("Unknown", time=NOW + timedelta(hours=1))
    cluster.writes.clear()
    drive(cluster)
    assert cluster.writes == [], "the same again is no news"
    assert len(cluster.verifier.asked) == 1, "and the same round"
    answer(cluster, found("True", time=NOW + timedelta(hours=2)))
    assert verified(cluster) == ("True", "Verified")


def test_the_annotation_asks_anew_and_is_echoed() -> None:
    cluster = running()
    answer(cluster, found())
    cluster.verifier.result = None
    annotate(cluster, "please")
    rounds(cluster)
    assert [asked.request for asked in cluster.verifier.asked] == ["", "please"]
    assert verified(cluster) == ("True", "Verified"), "what was found stands while it is measured"
    assert status(cluster)["transport"]["step"] == "counting"
    answer(cluster, found("False"))
    assert verified(cluster) == ("False", "WorseTransport")
    assert status(cluster)["transport"]["request"] == "please"
    restarted(cluster)
    rounds(cluster)
    assert cluster.verifier.asked == []


def test_it_is_measured_again_after_the_interval_and_not_before() -> None:
    cluster = running(verification={"intervalSeconds": 600})
    answer(cluster, found(time=datetime.now(UTC).replace(microsecond=0)))
    outcome = drive(cluster)
    assert outcome.again is not None
    assert 500 < outcome.again <= 600
    restarted(cluster)
    long_ago = NOW - timedelta(seconds=601)
    status(cluster)["transport"]["time"] = long_ago.isoformat().replace("+00:00", "Z")
    rounds(cluster)
    assert [asked.after for asked in cluster.verifier.asked] == [long_ago]


def test_enforcing_lets_no_request_in_before_it_is_verified() -> None:
    cluster = running(**ENFORCE)
    assert frontend(cluster) == ""
    available = cluster.condition("Available")
    assert (available["status"], available["reason"]) == ("False", "TransportNotVerified")
    assert "before the transport is verified" in available["message"]
    answer(cluster, found("Unknown"))
    assert frontend(cluster) == ""
    answer(cluster, found("False"))
    assert frontend(cluster) == ""
    assert "It is False." in cluster.condition("Available")["message"]
    progressing = cluster.condition("Progressing")
    assert (progressing["status"], progressing["reason"]) == ("False", "TransportNotVerified")
    assert "It is False." in progressing["message"]
    assert cluster.resource
    waits = wait_of(cluster.resource)
    assert waits is not None
    assert waits.condition == "TransportVerified"
    assert waits.message == "It is False. See docs/troubleshooting.md#transportverified-worsetransport"
    again = drive(cluster).again
    assert again is not None, "it is looked at again"
    annotate(cluster, "mended")
    answer(cluster, found())
    assert frontend(cluster) == "True"
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.condition("Progressing")["reason"] == "Complete"


@pytest.mark.parametrize(("before", "reason"), [("True", "RolloutInProgress"), ("False", "RolesNotReady")])
def test_it_is_said_once_that_the_new_revision_is_not_verified_yet(before: Truth, reason: str) -> None:
    cluster = running(**ENFORCE)
    answer(cluster, found(before))
    cluster.verifier.result = None
    cluster.edit(runtime={"image": "other:1"})
    rounds(cluster, 6)
    progressing = cluster.condition("Progressing")
    assert progressing["reason"] == reason
    assert progressing["message"].count("before the transport is verified") == 1


def test_what_was_never_verified_gives_its_place_up_to_what_is_to_mend_it() -> None:
    cluster = running(**ENFORCE)
    answer(cluster, found("False"))
    old = status(cluster)["revision"]
    assert not gives_way(cluster)
    cluster.verifier.result = None
    cluster.edit(runtime={"image": "other:1"})
    drive(cluster)
    assert gives_way(cluster), "the frontend that serves nobody makes room"
    new = status(cluster)["updateRevision"]
    going = [name for verb, name in cluster.writes if verb == "delete" and old in name]
    assert going, "and so do the workers"
    rounds(cluster, 8)
    assert {name.rpartition("-")[2] for name in cluster.names("StatefulSet")} == {new}
    assert not gives_way(cluster), "what comes next is not to be lost"
    assert "rollout" not in status(cluster)
    answer(cluster, found())
    assert frontend(cluster) == "True"
    assert cluster.condition("Progressing")["reason"] == "Complete"
    cluster.writes.clear()
    rounds(cluster)
    assert cluster.writes == []


def test_what_was_never_verified_is_nothing_to_go_back_to() -> None:
    cluster = running(rollout={"progressDeadlineSeconds": 600}, **ENFORCE)
    answer(cluster, found("False"))
    old = status(cluster)["revision"]
    cluster.verifier.result = None
    cluster.edit(runtime={"image": "other:1"})
    rounds(cluster, 6)
    answer(cluster, found("False", time=datetime.now(UTC) + timedelta(seconds=1)))
    rounds(cluster, 6)
    assert status(cluster)["revision"] != old
    assert cluster.condition("Progressing")["reason"] == "TransportNotVerified"


@pytest.mark.parametrize("why", ["open", "open and ending", "without a gate", "none there", "was verified"])
def test_nothing_gives_way_that_serves_or_may_serve_again(why: str) -> None:
    cluster = running(**ENFORCE)
    answer(cluster, found("False"))
    old = status(cluster)["revision"]
    (key,) = frontends(cluster)
    one = cluster.objects[key]
    conditions = {each["type"]: each for each in one["status"]["conditions"]}
    if why.startswith("open"):
        one["status"]["conditions"] = [
            *conditions.values(),
            {"type": CONDITION_TRANSPORT_VERIFIED, "status": "True"},
        ]
        one["metadata"] |= {"deletionTimestamp": datetime.now(UTC).isoformat()} if "ending" in why else {}
    elif why == "without a gate":
        one["spec"]["readinessGates"] = []
    elif why == "none there":
        del cluster.objects[key]
    else:
        status(cluster)["transport"]["verifiedRevision"] = old
    cluster.edit(runtime={"image": "other:1"})
    drive(cluster)
    assert not gives_way(cluster)
    kept = [name for name in cluster.names("StatefulSet") if old in name]
    assert len(kept) == 2
    assert not any("deletionTimestamp" in cluster.objects["StatefulSet", name]["metadata"] for name in kept)


def test_what_lets_requests_in_is_written_down_first() -> None:
    cluster = running(**ENFORCE)
    cluster.verifier.result = found()

    def die(verb: str, _: Object) -> None:
        if verb == "status":
            raise Crash

    cluster.after_write = die
    with pytest.raises(Crash):
        drive(cluster)
    cluster.after_write = lambda *_: None
    assert frontend(cluster) == ""
    restarted(cluster)
    rounds(cluster)
    assert cluster.verifier.asked == []
    assert frontend(cluster) == "True"


def test_a_failure_later_takes_nothing_down() -> None:
    cluster = running(**ENFORCE)
    answer(cluster, found())
    annotate(cluster, "again")
    assert answer(cluster, found("False")) == ["WorseTransport"]
    assert verified(cluster) == ("False", "WorseTransport")
    assert frontend(cluster) == "True"
    assert cluster.condition("Available")["status"] == "True"
    status_ = TransportStatus.model_validate(status(cluster)["transport"])
    assert status_.verified_revision == status_.revision


def test_a_rollout_keeps_the_old_revision_until_the_new_one_is_verified() -> None:
    cluster = running(**ENFORCE)
    answer(cluster, found())
    old = status(cluster)["revision"]
    cluster.verifier.result = None
    cluster.edit(runtime={"image": "other:1"})
    rounds(cluster, 6)
    assert status(cluster)["revision"] == old
    assert frontend(cluster) == "True"
    assert cluster.condition("Available")["status"] == "True"
    assert cluster.condition("Progressing")["reason"] == "RolloutInProgress"
    assert cluster.verifier.asked[-1].shared
    early = cluster.objects["Pod", f"demo-frontend-{ALL}-1"]
    assert not is_open(gate(early)), "users' requests reach nothing that is not verified"
    assert cluster.verifier.asked[-1].frontends == (f"http://{early['status']['podIP']}:8000",)
    answer(cluster, found("False"))
    assert status(cluster)["revision"] == old
    assert frontend(cluster) == "True"
    assert verified(cluster) == ("False", "WorseTransport")
    assert "It is False." in cluster.condition("Progressing")["message"]
    annotate(cluster, "mended")
    answer(cluster, found())
    rounds(cluster)
    assert status(cluster)["revision"] == status(cluster)["updateRevision"] != old
    assert frontend(cluster) == "True"
    assert cluster.condition("Progressing")["reason"] == "Complete"


def test_an_engine_that_simulates_transfers_is_never_called_verified() -> None:
    cluster = running(runtime={"engine": "mocker"})
    assert verified(cluster) == ("Unknown", "Simulated")
    assert "no KV cache moves" in cluster.condition("TransportVerified")["message"]
    assert status(cluster)["transport"]["configured"] == "simulated"
    assert cluster.verifier.forgotten


def test_enforcing_what_runs_unverified_takes_nothing_down() -> None:
    cluster = running(verification={"mode": "Off"})
    old = status(cluster)["revision"]
    assert verified(cluster) == ("Unknown", "SwitchedOff")
    assert cluster.verifier.forgotten
    cluster.edit(verification={"mode": "Enforce"})
    drive(cluster)
    drive(cluster)
    assert len(cluster.names("StatefulSet")) == 4, "without an agent, workers are of another revision"
    rounds(cluster, 6)
    assert status(cluster)["revision"] == old
    answer(cluster, found())
    rounds(cluster)
    assert status(cluster)["revision"] != old
    assert frontend(cluster) == "True"
    assert cluster.condition("Available")["status"] == "True"


def test_enforcing_again_what_was_verified_takes_nothing_down() -> None:
    cluster = running(**ENFORCE)
    answer(cluster, found())
    rounds(cluster)
    serving = status(cluster)["revision"]
    cluster.edit(verification={"mode": "Off"})
    drive(cluster)
    assert verified(cluster) == ("Unknown", "SwitchedOff")
    restarted(cluster)
    cluster.edit(**ENFORCE)
    drive(cluster)
    drive(cluster)
    assert is_open(frontend(cluster)), "requests still come in"
    assert status(cluster)["transport"]["verifiedRevision"] == serving


def test_a_frontend_that_waits_for_its_gate_is_not_complete_though_an_old_one_is_ready() -> None:
    cluster = running()
    cluster.edit(verification={"mode": "Enforce"})
    drive(cluster)
    assert cluster.condition("Progressing")["reason"] == "RolesNotReady", "the new one is not made yet"
    rounds(cluster)
    _, deployment_ = next(each for each in cluster.objects.items() if each[0][0] == "Deployment")
    deployment_["status"] |= {"replicas": 2, "updatedReplicas": 1, "readyReplicas": 1}
    drive(cluster)
    assert cluster.condition("Available")["status"] == "True", "the old one serves"
    assert cluster.condition("Progressing")["reason"] == "RolesNotReady"


def test_without_a_second_revision_beside_it_the_new_one_waits_for_its_proof() -> None:
    cluster = running(rollout={"strategy": "Recreate"}, **ENFORCE)
    answer(cluster, found())
    assert frontend(cluster) == "True"
    cluster.verifier.result = None
    cluster.edit(runtime={"image": "other:1"})
    rounds(cluster, 6)
    assert frontend(cluster) in ("False", "")
    assert cluster.condition("Available")["reason"] == "TransportNotVerified"
    answer(cluster, found())
    assert frontend(cluster) == "True"


def test_warning_measures_a_new_revision_once_it_is_alone() -> None:
    cluster = running()
    answer(cluster, found())
    first = status(cluster)["revision"]
    cluster.verifier.result = None
    cluster.edit(runtime={"image": "other:1"})
    rounds(cluster, 8)
    assert [asked.revision for asked in cluster.verifier.asked] == [first, status(cluster)["revision"]]
    assert status(cluster)["transport"]["summary"] == "NIXL/UCX", "what was seen of the old one is gone"


def test_a_pause_measures_nothing_and_keeps_what_was_found() -> None:
    cluster = running()
    answer(cluster, found())
    assert cluster.resource
    cluster.resource["metadata"]["annotations"] = {"disagg.dev/paused": "true", "disagg.dev/verify": "now"}
    rounds(cluster)
    assert len(cluster.verifier.asked) == 1
    assert verified(cluster) == ("True", "Verified")


def test_a_refused_edit_keeps_what_was_found() -> None:
    cluster = running()
    answer(cluster, found())
    before = status(cluster)["transport"]
    cluster.edit(transfer={"timeoutSeconds": -1})
    rounds(cluster)
    assert status(cluster)["transport"] == before
    assert verified(cluster) == ("True", "Verified")


def test_nothing_can_be_measured_of_no_replicas() -> None:
    cluster = running(decode={"replicas": 0})
    assert verified(cluster) == ("Unknown", "ScaledToZero")
    assert cluster.verifier.asked == []
