"""Truth tables of conditions and status, and the sentences that they speak."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Problem
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from disagg_operator.plan.rollout.stepper import Counts, Step
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed, observe
from disagg_operator.reconcile.preflight.fault import Assessment, Check, Fault
from disagg_operator.reconcile.reporting.announce import Announcement, announcements
from disagg_operator.reconcile.reporting.conditions import verdicts
from disagg_operator.reconcile.reporting.status import compute
from disagg_operator.reconcile.reporting.troubles import first_trouble
from disagg_operator.reconcile.reporting.view import Failure, View
from disagg_operator.reconcile.reporting.worker_checks import summary
from disagg_operator.reconcile.rollout.progress import Rollout
from unit.reconcile.fake_cluster import deployment

NEW, OLD = "newnewnw", "oldoldol"
EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


def planned(**spec: Any) -> Plan:
    return replace(plan(accept(deployment(**spec)), Installation("w:1")), revision=NEW)


def workload(role: str, ready: int, asked: int, revision: str | None = None) -> Object:
    labels = {"disagg.dev/role": role, "disagg.dev/deployment": "demo"}
    if revision:
        labels["disagg.dev/revision"] = revision
    return {
        "kind": "StatefulSet" if revision else "Deployment",
        "metadata": {"name": f"demo-{role}-{revision or ''}", "labels": labels},
        "spec": {"replicas": asked},
        "status": {
            "replicas": asked,
            "readyReplicas": ready,
            "availableReplicas": ready,
            "updatedReplicas": asked,
        },
    }


def pod(role: str, revision: str = NEW, **status: Any) -> Object:
    labels = {"disagg.dev/role": role, "disagg.dev/revision": revision}
    metadata = {"name": f"demo-{role}-0", "namespace": "team", "labels": labels}
    return {"kind": "Pod", "metadata": metadata, "status": status}


def seen(prefill: int = 1, decode: int = 1, frontend: int = 1, *more: Object) -> Observed:
    return observe(
        [
            workload("prefill", prefill, 1, NEW),
            workload("decode", decode, 1, NEW),
            workload("frontend", frontend, 1),
            *more,
        ]
    )


ONE: Counts = {"prefill": 1, "decode": 1}


def at(serving: str | None = NEW, *, kept: str = "", removed: str = "", run: bool = True) -> Rollout:
    staying, going = {kept: ONE} if kept else {}, frozenset({removed} if removed else ())
    complete = serving == NEW and not kept and not removed
    return Rollout(NEW, Step(run, ONE, staying, going, serving, complete))


READY = View(seen(), at(), NEW, planned(), platform=Assessment())
STARTING = View(seen(1, 0, 1), at(None), NEW, planned(), platform=Assessment())
SMALL = Fault(Check.TOO_FEW_NODES, "Add nodes", "docs")
FORBIDDEN = Fault(Check.POD_SECURITY, "Label it", "docs")
PROBLEM = Problem("spec.decode.replicas", "is -1", "Write 0 or more", "r")
LATER = Problem("spec.scaling", "is not supported yet", "Leave it out", "r")
WAITING = {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        pytest.param(READY, "True Accepted, True ServingRequests, False Complete", id="ready"),
        pytest.param(STARTING, "True Accepted, False RolesNotReady, True RolesNotReady", id="starting"),
        pytest.param(
            View(seen(1, 1, 0), at(), NEW, planned()),
            "True Accepted, False FrontendNotReady, True RolesNotReady",
            id="frontend missing",
        ),
        pytest.param(
            View(seen(1, 0, 1), at(OLD, kept=OLD), NEW, planned()),
            "True Accepted, True ServingRequests, True RolloutInProgress",
            id="surge",
        ),
        pytest.param(
            View(seen(0, 0, 1), at(None, removed=OLD, run=False), NEW, planned()),
            "True Accepted, False RolesNotReady, True RolloutInProgress",
            id="recreate waits",
        ),
        pytest.param(
            View(seen(1, 0, 1), at(None), NEW, planned(decode={"replicas": 0})),
            "True Accepted, False ScaledToZero, True RolesNotReady",
            id="scaled to zero",
        ),
        pytest.param(
            replace(READY, paused=True), "True Accepted, True ServingRequests, False Paused", id="paused"
        ),
        pytest.param(
            replace(READY, plan=None, problems=(PROBLEM, LATER)),
            "False InvalidSpec, True ServingRequests, False NotAccepted",
            id="refused",
        ),
        pytest.param(
            replace(READY, plan=None, problems=(LATER,)),
            "False NotSupported, True ServingRequests, False NotAccepted",
            id="not supported yet",
        ),
        pytest.param(
            replace(READY, failure=Failure("Blocked", "quota")),
            "True Accepted, True ServingRequests, False Blocked",
            id="blocked",
        ),
        pytest.param(
            replace(READY, failure=Failure("RetryingAfterError", "500")),
            "True Accepted, True ServingRequests, True RetryingAfterError",
            id="retrying",
        ),
        pytest.param(
            replace(READY, plan=None, failure=Failure("ReconcileError", "bug")),
            "Unknown ReconcileError, True ServingRequests, False ReconcileError",
            id="bug",
        ),
    ],
)
def test_conditions(view: View, expected: str) -> None:
    shown = [found for found in verdicts(view) if found.type != "PlatformReady"]
    assert ", ".join(f"{found.status} {found.reason}" for found in shown) == expected


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (READY, ("True", "PlatformReady", "The cluster has all that was planned for.")),
        (replace(READY, platform=Assessment((SMALL,))), ("False", "TooFewNodes", "Add nodes (docs)")),
        (
            replace(READY, platform=Assessment((FORBIDDEN, SMALL), ("n",))),
            ("False", "PodSecurity", "Label it (docs)\nAdd nodes (docs)"),
        ),
        (
            replace(READY, plan=None, platform=None, leaving="Pods end."),
            ("Unknown", "Deleting", "The deployment is being deleted."),
        ),
        (replace(READY, platform=Assessment((), ("May not.",))), ("Unknown", "NotChecked", "May not.")),
        (
            replace(READY, plan=None, problems=(PROBLEM,), platform=None),
            (
                "Unknown",
                "NotAccepted",
                "The cluster is checked against a specification once that is accepted.",
            ),
        ),
    ],
)
def test_platform_ready(view: View, expected: tuple[str, str, str]) -> None:
    (found,) = [each for each in verdicts(view) if each.type == "PlatformReady"]
    assert (found.status, found.reason, found.message) == expected


def test_a_revision_whose_pods_would_all_be_refused_is_held_and_one_that_runs_is_not() -> None:
    forbidden = Assessment((FORBIDDEN,))
    assert View(observe([]), at(None), NEW, planned(), platform=forbidden).held
    assert not replace(READY, platform=forbidden).held
    assert not View(observe([]), at(None), NEW, planned(), platform=Assessment((SMALL,))).held
    held = View(
        observe([workload("prefill", 1, 1, OLD)]), at(OLD, kept=OLD), NEW, planned(), platform=forbidden
    )
    (progressing,) = [each for each in verdicts(held) if each.type == "Progressing"]
    assert (progressing.status, progressing.reason) == ("False", "PlatformNotReady")


def message(view: View, kind: str) -> str:
    return next(found.message for found in verdicts(view) if found.type == kind)


def test_messages_name_what_lacks_and_what_to_do() -> None:
    troubled = seen(1, 0, 1, pod("decode", containerStatuses=[{"state": {"waiting": WAITING}}]))
    assert message(View(troubled, at(None), NEW, planned()), "Available") == (
        "decode: 0 of 1 ready. Pod demo-decode-0 cannot get its image (ImagePullBackOff): Back-off pulling "
        "image. Check spec.runtime.image and spec.runtime.imagePullSecrets."
    )
    assert "kubectl describe statefulset demo-decode-newnewnw" in message(STARTING, "Available")
    assert str(PROBLEM) in message(replace(READY, plan=None, problems=(PROBLEM,)), "Accepted")
    surge = message(View(seen(1, 0, 1), at(OLD, kept=OLD), NEW, planned()), "Progressing")
    assert f"Revision {NEW} takes over step by step. Started: prefill 1 of 1, decode 1 of 1." in surge


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, None),
        ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, None),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes fit."}]},
            "cannot be scheduled: 0/3 nodes fit. Free or add nodes",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "message": '0/1 nodes are available: persistentvolumeclaim "models" not found.',
                    }
                ]
            },
            "Pod demo-decode-0 cannot start: Namespace team has no PersistentVolumeClaim models. Create it, "
            "or correct the field that names it.",
        ),
        (
            {
                "conditions": [
                    {
                        "type": "PodScheduled",
                        "status": "False",
                        "message": "0/1 nodes are available: pod has unbound immediate "
                        "PersistentVolumeClaims.",
                    }
                ]
            },
            "is bound to none (pod has unbound immediate PersistentVolumeClaims). See: kubectl describe "
            "persistentvolumeclaims --namespace team",
        ),
        (
            {
                "containerStatuses": [
                    {
                        "state": {
                            "waiting": {
                                "reason": "CreateContainerConfigError",
                                "message": "couldn't find key token in Secret team/hub",
                            }
                        }
                    }
                ]
            },
            "Pod demo-decode-0 cannot start: Secret hub in namespace team has no key token. Add it, or",
        ),
        (
            {"initContainerStatuses": [{"state": {"waiting": {"reason": "CreateContainerConfigError"}}}]},
            "cannot be started (CreateContainerConfigError)",
        ),
        (
            {
                "containerStatuses": [
                    {
                        "ready": False,
                        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                        "lastState": {
                            "terminated": {"reason": "OOMKilled", "exitCode": 137, "message": "a\nlast words"}
                        },
                    }
                ]
            },
            "keeps ending (OOMKilled, exit code 137): last words. See: kubectl logs demo-decode-0 "
            "--namespace team --previous",
        ),
        ({"containerStatuses": [{"ready": True, "lastState": {"terminated": {"exitCode": 1}}}]}, None),
        (
            {"containerStatuses": [{"ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}]},
            None,
        ),
        (
            {
                "initContainerStatuses": [
                    {"name": "transport-agent", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
                ]
            },
            "worker.image: give the namespace access to it by spec.runtime.imagePullSecrets, or leave the "
            "agent out by spec.verification.mode: Off.",
        ),
    ],
)
def test_troubles(status: dict[str, Any], expected: str | None) -> None:
    found = first_trouble([pod("decode", **status)])
    assert found is None if expected is None else expected in (found or "")


def test_the_claim_that_has_no_volume_is_named() -> None:
    unscheduled = {"type": "PodScheduled", "status": "False"}
    unscheduled["message"] = "0/1 nodes fit: pod has unbound immediate PersistentVolumeClaims. not found."
    volumes = [{"name": "model", "persistentVolumeClaim": {"claimName": "models"}}, {"name": "scratch"}]
    found = first_trouble([{**pod("decode", conditions=[unscheduled]), "spec": {"volumes": volumes}}])
    assert found == (
        "Pod demo-decode-0 waits for a volume: its PersistentVolumeClaim models is bound to none (pod has "
        "unbound immediate PersistentVolumeClaims). See: kubectl describe persistentvolumeclaims models "
        "--namespace team"
    )


def test_transition_times_change_only_on_flips() -> None:
    resource = deployment()
    resource["status"] = compute(resource, STARTING, EARLY)
    status = compute(resource, READY, LATE)
    times = {condition["type"]: condition["lastTransitionTime"] for condition in status["conditions"]}
    assert times == {
        "Accepted": "2026-01-01T00:00:00Z",
        "PlatformReady": "2026-01-01T00:00:00Z",
        "Available": "2026-01-02T00:00:00Z",
        "Progressing": "2026-01-02T00:00:00Z",
    }


def test_equal_knowledge_gives_an_equal_status() -> None:
    resource = deployment()
    resource["status"] = compute(resource, READY, EARLY)
    assert compute(resource, READY, LATE) == resource["status"]


def test_counts_are_of_all_revisions_and_readiness_of_the_serving_one() -> None:
    view = View(
        seen(1, 0, 1, workload("decode", 2, 2, OLD), workload("prefill", 1, 1, OLD)),
        at(OLD, kept=OLD),
        NEW,
        planned(decode={"replicas": 3}),
    )
    decode = compute(deployment(), view, EARLY)["roles"]["decode"]
    assert decode == {
        "replicas": 3,
        "readyReplicas": 2,
        "updatedReplicas": 1,
        "desiredReplicas": 3,
        "ready": "2/3",
        "selector": "disagg.dev/deployment=demo,disagg.dev/role=decode",
    }


def test_a_refused_edit_keeps_what_was_known() -> None:
    resource = deployment()
    resource["status"] = compute(resource, READY, EARLY)
    refused = replace(READY, plan=None, problems=(PROBLEM,))
    status = compute(resource, refused, LATE)
    for field in ("address", "transport", "revision", "updateRevision", "roles"):
        assert status[field] == resource["status"][field]


def test_what_is_announced() -> None:
    resource = deployment()

    def status(view: View) -> Object:
        return compute(resource, view, EARLY)

    def told(old: View | None, new: View) -> list[tuple[str, str]]:
        found: list[Announcement] = list(announcements(status(old) if old else {}, status(new)))
        return [(announcement.kind, announcement.reason) for announcement in found]

    refused = replace(READY, plan=None, problems=(PROBLEM,))
    assert told(None, STARTING) == []
    assert told(STARTING, READY) == [("Normal", "Available")]
    assert told(READY, READY) == []
    assert told(READY, STARTING) == [("Warning", "RolesNotReady")]
    assert told(READY, refused) == [("Warning", "InvalidSpec")]
    assert told(refused, refused) == []
    assert told(READY, replace(READY, failure=Failure("Blocked", "quota"))) == [("Warning", "Blocked")]
    small = replace(READY, platform=Assessment((SMALL,)))
    unknown = replace(READY, platform=Assessment((), ("May not.",)))
    assert told(None, replace(STARTING, platform=small.platform)) == [("Warning", "TooFewNodes")]
    assert told(READY, small) == [("Warning", "TooFewNodes")]
    assert told(small, small) == []
    assert told(small, READY) == [("Normal", "PlatformReady")]
    assert told(READY, unknown) == told(unknown, READY) == []


def test_a_pod_that_waits_at_the_gate_says_so() -> None:
    gate = {"name": "await-services", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    found = first_trouble([pod("decode", initContainerStatuses=[gate])])
    assert found is not None
    assert found.startswith("Pod demo-decode-0 waits for etcd or NATS to answer.")
    assert found.endswith("See: kubectl logs demo-decode-0 --namespace team -c await-services")


def test_a_pod_whose_gate_gave_up_says_what_did_not_answer() -> None:
    ended = {"reason": "Error", "exitCode": 1, "message": "etcd does not answer at http://e:2379: refused"}
    gate = {"name": "await-services", "ready": False, "state": {"terminated": ended}}
    found = first_trouble([pod("decode", initContainerStatuses=[gate])])
    assert found is not None
    assert "etcd does not answer at http://e:2379: refused" in found
    assert found.endswith("kubectl logs demo-decode-0 --namespace team --previous -c await-services")


def checked(name: str, *results: tuple[str, bool | None, str], ended: str = "state") -> Object:
    """A pod whose check before its engine found this."""
    told = {"preflight": [{"check": check, "ok": ok, "says": says} for check, ok, says in results]}
    terminated = {"exitCode": 1, "reason": "Error", "message": json.dumps(told)}
    container = {"name": "preflight", "ready": False, ended: {"terminated": terminated}}
    made = pod("decode", initContainerStatuses=[container])
    return {**made, "metadata": {**made["metadata"], "name": name}}


@pytest.mark.parametrize("ended", ["state", "lastState"])
def test_a_pod_that_lacks_something_says_what_and_what_to_do(ended: str) -> None:
    lacks = ("gpus", False, "0 of 8 GPUs are in the container. Look at the device plugin.")
    found = first_trouble([checked("d-0", ("nixlBackend", True, "UCX starts"), lacks, ended=ended)])
    assert found == (
        "Pod d-0 lacks what its engine needs: gpus: 0 of 8 GPUs are in the container. Look at the device "
        "plugin. See docs/troubleshooting.md#preflight-gpus and: kubectl logs d-0 "
        "--namespace team -c preflight"
    )


@pytest.mark.parametrize(
    "prefix",
    [
        "[1795758882.685609] [pod:19   :0]          select.c:722  UCX  ERROR ",
        "[1795758890.1] [pod:7    :1]  select.c:722  UCX  ERROR ",
        "E1127 06:01:57.847800   27214 ucx_utils.cpp:635] UCX  ERROR ",
    ],
)
def test_what_a_log_s_line_begins_with_makes_no_other_trouble(prefix: str) -> None:
    why = "UCX  ERROR no active messages transport"
    lacks = checked("d-0", ("nixlBackend", False, f"NIXL fails: {prefix}no active messages transport."))
    assert f"nixlBackend: NIXL fails: {why}. See" in (first_trouble([lacks]) or "")
    ended = {"exitCode": 1, "message": f"{prefix}no active messages transport"}
    crash = {"ready": False, "state": {"terminated": ended}}
    found = first_trouble([pod("decode", containerStatuses=[crash])])
    assert f"keeps ending (Error, exit code 1): {why}. See" in (found or "")


def test_roles_with_one_cause_tell_it_once() -> None:
    crash = {"ready": False, "state": {"terminated": {"exitCode": 1, "message": "no way"}}}
    pods = [pod(role, containerStatuses=[crash]) for role in ("prefill", "decode")]
    both = message(View(seen(0, 0, 1, *pods), at(None), NEW, planned()), "Available")
    assert both == (
        "prefill: 0 of 1 ready. Pod demo-prefill-0 keeps ending (Error, exit code 1): no way. See: kubectl "
        "logs demo-prefill-0 --namespace team --previous decode: 0 of 1 ready. As prefill."
    )
    crash = {"ready": False, "state": {"terminated": {"exitCode": 1, "message": "no room"}}}
    other = pod("decode", containerStatuses=[crash])
    assert "no room" in message(View(seen(0, 0, 1, pods[0], other), at(None), NEW, planned()), "Available")


def test_a_message_that_was_cut_off_is_told_as_any_other_end() -> None:
    container = {
        "name": "preflight",
        "ready": False,
        "state": {"terminated": {"exitCode": 1, "message": "{"}},
    }
    found = first_trouble([pod("decode", initContainerStatuses=[container])])
    assert found is not None
    assert "keeps ending (Error, exit code 1)" in found


def test_the_status_sums_up_what_the_checks_found() -> None:
    fine = ("gpus", True, "8 by NVML")
    assert summary([pod("decode")]) == ""
    assert summary([checked("d-0", fine)]) == "passed in 1 pod"
    unclear = ("libfabric", None, "no libfabric was found")
    assert summary([checked("d-0", fine, unclear), checked("d-1", fine)]) == (
        "passed in 2 pods, not told: libfabric"
    )
    assert summary([checked("d-0", ("gpus", False, "0 of 8"))]) == "gpus: 0 of 8"
    seen_pods = seen(1, 1, 1, checked("d-0", fine))
    role = compute(deployment(), replace(READY, observed=seen_pods), EARLY)["roles"]["decode"]
    assert role["preflight"] == "passed in 1 pod"


def ended_for_what_it_said(finished: str, name: str = "d-0", code: int = 86) -> Object:
    """A pod whose worker was ended by its watcher, and runs again."""
    said = "KV transfer is broken until this worker is started anew; its log says: buffer pool poisoned"
    terminated = {"exitCode": code, "reason": "Error", "message": said, "finishedAt": finished}
    container = {"name": "worker", "ready": True, "state": {}, "lastState": {"terminated": terminated}}
    made = pod("decode", containerStatuses=[container])
    return {**made, "metadata": {**made["metadata"], "name": name}}


def test_a_worker_that_was_ended_for_what_its_engine_said_is_told_once() -> None:
    def told(*pods: Object) -> Object:
        return compute(deployment(), replace(READY, observed=seen(1, 1, 1, *pods)), EARLY)

    first = ended_for_what_it_said("2026-01-01T00:00:00Z")
    later = ended_for_what_it_said("2026-01-01T00:05:00Z", "d-1")
    other = ended_for_what_it_said("2026-01-01T00:09:00Z", "d-2", code=1)
    assert "wedged" not in told(other)["roles"]["decode"]
    message = told(first, later, other)["roles"]["decode"]["wedged"]
    assert message.startswith("Pod d-1 was started anew at 2026-01-01T00:05:00Z: KV transfer is broken until")
    assert message.endswith("buffer pool poisoned")
    (news,) = announcements(told(first), told(first, later, other))
    assert (news.kind, news.reason, news.message) == ("Warning", "WorkerWedged", message)
    assert not list(announcements(told(first, later), told(first, later)))
    assert not list(announcements(told(first), told()))
