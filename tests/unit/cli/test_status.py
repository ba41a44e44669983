"""What ``kubectl disagg status`` tells of given objects."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.text import Text

from disagg_operator.cli.ages import age
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.overview import overview, pod_state, summary
from disagg_operator.cli.status_report import Section, code, of_all, of_one
from disagg_operator.cli.waiting import gist, wait_of
from disagg_operator.reconcile.kinds import Object
from disagg_operator.verify.evidence import Evidence

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
FIVE_MINUTES_AGO = "2026-11-26T11:55:00Z"
ROLE = {"readyReplicas": 2, "desiredReplicas": 2, "updatedReplicas": 2}


def condition(kind: str, status: str, reason: str, message: str = "It is so.") -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": FIVE_MINUTES_AGO,
    }


GOOD = {
    "Accepted": condition("Accepted", "True", "Accepted"),
    "PlatformReady": condition("PlatformReady", "True", "PlatformReady"),
    "Available": condition("Available", "True", "ServingRequests"),
    "Progressing": condition("Progressing", "False", "Complete"),
    "TransportVerified": condition("TransportVerified", "True", "Verified"),
}


def resource(*changed: Object, **status: Any) -> Object:
    """Return a deployment that serves, but for some conditions."""
    conditions = {**GOOD, **{each["type"]: each for each in changed}}
    return {
        "metadata": {
            "name": "llama",
            "namespace": "models",
            "generation": 3,
            "creationTimestamp": "2026-11-24T08:00:00Z",
        },
        "spec": {"platform": "aws-p5.48xlarge", "runtime": {"engine": "trtllm", "version": "1.3.1"}},
        "status": {
            "observedGeneration": 3,
            "revision": "aaaa",
            "updateRevision": "aaaa",
            "roles": {"prefill": ROLE, "decode": {**ROLE, "transport": "UCX srd"}, "frontend": ROLE},
            "transport": {
                **{"configured": "NIXL/UCX", "observed": "NIXL/UCX srd", "verified": "True"},
                **{"reason": "Verified", "devicesUsed": 3, "devicesGiven": 4, "time": FIVE_MINUTES_AGO},
            },
            "conditions": list(conditions.values()),
            **status,
        },
    }


def pod(name: str, role: str = "decode", labels: Object | None = None) -> Object:
    return {
        "metadata": {
            "name": name,
            "namespace": "models",
            "creationTimestamp": FIVE_MINUTES_AGO,
            "labels": {"disagg.dev/role": role, "disagg.dev/revision": "aaaa", **(labels or {})},
        },
        "spec": {
            "nodeName": "node-1",
            "containers": [
                {"resources": {"limits": {"nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": "4", "cpu": "3"}}}
            ],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def plain(section: Section) -> list[list[str]]:
    return [[str(cell) for cell in row] for row in section.rows]


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0, "0s"), (59, "59s"), (60, "1m"), (3599, "59m"), (11_100, "3h5m"), (187_200, "2d4h"), (-5, "0s")],
)
def test_ages_are_told_as_kubectl_tells_them(seconds: int, told: str) -> None:
    assert age((NOW - timedelta(seconds=seconds)).isoformat(), NOW) == told


def test_a_deployment_that_serves_waits_for_nothing() -> None:
    assert wait_of(resource()) is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        # The cause is told, and not what follows from it.
        (
            [
                condition("PlatformReady", "False", "NodesMissing"),
                condition("Progressing", "False", "PlatformNotReady"),
                condition("Available", "False", "RolesNotReady"),
            ],
            ("PlatformReady", "NodesMissing"),
        ),
        (
            [
                condition("ModelReady", "False", "DownloadRunning"),
                condition("Progressing", "True", "WaitingForModel"),
            ],
            ("ModelReady", "DownloadRunning"),
        ),
        ([condition("Progressing", "True", "RolloutInProgress")], ("Progressing", "RolloutInProgress")),
        ([condition("Progressing", "False", "RolloutPaused")], ("Progressing", "RolloutPaused")),
        ([condition("Available", "False", "FrontendNotReady")], ("Available", "FrontendNotReady")),
        (
            [condition("TransportVerified", "False", "WorseTransport")],
            ("TransportVerified", "WorseTransport"),
        ),
    ],
)
def test_what_is_waited_for_is_the_first_thing_that_must_happen(
    changed: list[Object], told: tuple[str, str]
) -> None:
    wait = wait_of(resource(*changed))
    assert wait is not None
    assert (wait.condition, wait.reason) == told
    assert (wait.message, wait.since) == ("It is so.", FIVE_MINUTES_AGO)


def test_a_status_of_an_older_specification_says_nothing_of_this_one() -> None:
    old = resource(observedGeneration=2)
    old["metadata"]["managedFields"] = [
        {"fieldsV1": {"f:spec": {}}, "time": "2026-11-26T11:59:00Z"},
        {"fieldsV1": {"f:status": {}}, "time": "2026-11-26T11:59:30Z", "subresource": "status"},
    ]
    wait = wait_of(old)
    assert wait is not None
    assert (wait.reason, wait.since) == ("NotSeen", "2026-11-26T11:59:00Z")
    assert "not yet seen generation 3" in wait.message
    assert code([summary(old)]) is Code.UNKNOWN


def test_pauses_ends_and_measurements_are_waited_for() -> None:
    paused = resource()
    paused["metadata"]["annotations"] = {"disagg.dev/paused": "true"}
    leaving = resource()
    leaving["metadata"]["deletionTimestamp"] = FIVE_MINUTES_AGO
    measuring = resource(transport={"step": "sending a canary"})
    found = [wait_of(each) for each in (paused, leaving, measuring)]
    assert [wait and wait.reason for wait in found] == ["Paused", "Deleting", "Measuring"]
    assert found[0] is not None
    assert "kubectl annotate dd llama --namespace models disagg.dev/paused-" in found[0].message


@pytest.mark.parametrize(
    ("available", "expected"),
    [(["True", "True"], Code.VERIFIED), (["True", "False"], Code.NOT_VERIFIED), (["Unknown"], Code.UNKNOWN)],
)
def test_the_exit_code_tells_whether_all_serve(available: list[str], expected: Code) -> None:
    found = [summary(resource(condition("Available", status, "A"))) for status in available]
    assert code(found) is expected


@pytest.mark.parametrize(
    "changed",
    [condition("Accepted", "False", "Refused"), condition("TransportVerified", "False", "WorseTransport")],
)
def test_what_is_refused_or_worse_than_promised_is_no_success(changed: Object) -> None:
    worse = changed["type"] == "TransportVerified"
    told = resource(changed, **({"transport": {"verified": "False"}} if worse else {}))
    assert code([summary(resource())]) is Code.VERIFIED
    assert code([summary(resource()), summary(told)]) is Code.NOT_VERIFIED


def test_a_platform_that_was_refused_does_not_look_like_the_one_that_runs() -> None:
    refused = resource(condition("Accepted", "False", "Refused"))
    facts = dict(plain(of_one(overview(refused, [], {}), NOW)[0]))
    assert facts["platform"] == "aws-p5.48xlarge (refused: what runs is older than this specification)"
    assert "aws-p5.48xlarge (refused)" in plain(of_all([summary(refused)], NOW, namespaces=False))[0]


def test_a_message_stands_once_and_a_rollout_that_is_done_is_no_fault() -> None:
    why = "Pod llama-decode-0 cannot start: no such option. See: kubectl logs llama-decode-0"
    late = [condition(kind, "False", "RolesNotReady", why) for kind in ("Progressing", "Available")]
    sections = of_one(overview(resource(*late), [pod("llama-decode-0")], {}), NOW)
    shown = [cell for section in sections for row in plain(section) for cell in row]
    assert sum("See: kubectl logs llama-decode-0" in cell for cell in shown) == 1
    assert shown.count("as Available, above") == 1
    done = of_one(overview(resource(), [], {}), NOW)[2]
    assert {str(row[0]): row[1].style for row in done.rows if isinstance(row[1], Text)}[
        "Progressing"
    ] == "green"


def test_all_deployments_are_rows() -> None:
    late = resource(condition("Progressing", "True", "RolesNotReady", "word " * 80))
    section = of_all([summary(resource()), summary(late)], NOW, namespaces=True)
    first, second = plain(section)
    assert first == [
        *(
            "models",
            "llama",
            "aws-p5.48xlarge",
            "2/2",
            "2/2",
            "NIXL/UCX srd",
            "True",
            "True",
            "2d4h",
            "nothing",
        )
    ]
    assert second[-1].startswith("Progressing RolesNotReady for 5m: word word")
    assert second[-1].endswith("…")


def test_one_deployment_tells_roles_revisions_pods_and_conditions() -> None:
    rollout = {
        **{"revision": "bbbb", "startedTime": "2026-11-26T11:00:00Z", "progressTime": FIVE_MINUTES_AGO},
        **{"ready": 1, "remaining": 3},
    }
    told = overview(
        resource(updateRevision="bbbb", rollout=rollout),
        [
            pod(
                "llama-decode-aaaa-1-0",
                "decode",
                {"disagg.dev/group": "1", "apps.kubernetes.io/pod-index": "0"},
            ),
            pod("llama-prefill-aaaa-0", "prefill", {"apps.kubernetes.io/pod-index": "0"}),
        ],
        {"aaaa": {"prefill": (1, 1), "decode": (2, 2)}, "bbbb": {"prefill": (1, 1)}},
    )
    facts, roles, revisions, conditions, pods = of_one(told, NOW)
    by_name = dict(plain(facts))
    assert facts.title == "models/llama"
    assert by_name["runtime"] == "trtllm 1.3.1"
    assert by_name["revision"] == "aaaa serves, bbbb is to take over"
    assert by_name["rollout"] == ("to bbbb, since 1h0m, 1 new instances ready, 3 old left, last step 5m ago")
    assert by_name["verified"] == "True (Verified, 5m ago)"
    assert by_name["NICs"] == "3 used of 4 given"
    assert plain(roles)[1] == ["decode", "2/2", "2", "UCX srd", ""]
    assert plain(revisions) == [["aaaa", "old", "1/1", "2/2"], ["bbbb", "new", "1/1", "0/0"]]
    # In the order of roles; without groups of several nodes a pod is an instance.
    assert [row[:6] for row in plain(pods)] == [
        ["llama-prefill-aaaa-0", "prefill", "aaaa", "0", "", "node-1"],
        ["llama-decode-aaaa-1-0", "decode", "aaaa", "1", "0", "node-1"],
    ]
    assert plain(pods)[0][-1] == "4 vpc.amazonaws.com/efa"
    assert len(conditions.rows) == len(GOOD)


def test_agents_tell_the_nics_that_a_pod_was_given() -> None:
    devices = [
        {"name": "rdmap0", "state": "ACTIVE", "given": True, "counters": {"rx_bytes": 3 * 10**9}},
        {"name": "rdmap1", "given": False},
    ]
    evidence: dict[str, Evidence | str] = {
        "d-0": Evidence.model_validate({"devices": devices}),
        "d-1": "the agent cannot be asked",
    }
    told = overview(resource(), [pod("d-0"), pod("d-1")], {}, evidence)
    pods = of_one(told, NOW)[-1]
    assert [row[-1] for row in plain(pods)] == [
        "rdmap0 ACTIVE 3.0 GB received",
        "4 vpc.amazonaws.com/efa; the agent cannot be asked",
    ]


def pending(name: str, role: str, message: str) -> Object:
    """Return a pod that the scheduler has no node for."""
    found = pod(name, role)
    unscheduled = {"type": "PodScheduled", "status": "False", "message": message}
    found["status"] = {"phase": "Pending", "conditions": [unscheduled]}
    return found


def causes(changed: Object, *pods: Object) -> list[str]:
    facts = plain(of_one(overview(resource(changed), pods, {}), NOW)[0])
    return [value for name, value in facts if name == "waits for"]


def test_what_is_waited_for_is_a_line_for_each_cause() -> None:
    cpu = "0/3 nodes are available: 3 Insufficient cpu."
    why = "cannot be scheduled: 0/3 nodes are available: 3 Insufficient cpu."
    wall = f"prefill: 0 of 2 ready. Pod llama-prefill-0 {why} Free or add nodes. decode: 0 of 1 ready. So on."
    pods = [pending("llama-prefill-0", "prefill", cpu), pending("llama-prefill-1", "prefill", cpu)]
    pods += [pending("llama-decode-0", "decode", "no disk")]
    assert causes(condition("Progressing", "True", "RolesNotReady", wall), *pods) == [
        f"prefill: llama-prefill-0 and 1 more Pending for 5m: {why}",
        "decode: llama-decode-0 Pending for 5m: cannot be scheduled: no disk.",
        "details: kubectl disagg doctor llama --namespace models",
    ]
    faults = "Prefill pods need GPUs. Add some. (https://a.b)\nDecode pods need more. Add them."
    assert causes(condition("PlatformReady", "False", "DeviceMissing", faults)) == [
        "PlatformReady DeviceMissing for 5m: Prefill pods need GPUs.",
        "Decode pods need more.",
        "details: kubectl disagg doctor llama --namespace models",
    ]
    assert causes(condition("Available", "True", "ServingRequests")) == ["nothing"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prefill: 0 of 1 ready. decode: 0 of 2 ready.", ""),
        (
            "prefill: 0 of 1 ready. No pod was made yet; look. decode: 0 of 2 ready.",
            "No pod was made yet; look.",
        ),
        ("One sentence.\nAnother.", "One sentence."),
        ("See docs/a.md for v1.2 of it. More.", "See docs/a.md for v1.2 of it."),
        ("word " * 80, "word " * 23 + "word…"),
        ("", ""),
    ],
)
def test_the_gist_is_the_first_sentence_that_tells_more_than_counts(text: str, told: str) -> None:
    assert gist(text) == told


def test_why_nothing_was_measured_is_the_condition_s_own_reason() -> None:
    waiting = condition("TransportVerified", "Unknown", "WorkersNotReady", "It is measured once all are.")
    told = summary(resource(waiting, transport={"configured": "NIXL/UCX"}))
    assert told["transport"]["reason"] == "WorkersNotReady"
    facts = dict(plain(of_one(overview(resource(waiting, transport={}), [], {}), NOW)[0]))
    assert facts["verified"] == "Unknown (WorkersNotReady)"


def test_restarts_of_all_containers_count() -> None:
    found = pod("p")
    found["spec"]["initContainers"] = [{"name": "agent", "restartPolicy": "Always"}, {"name": "fetch"}]
    found["status"] |= {
        "initContainerStatuses": [{"name": "agent", "restartCount": 2}, {"name": "fetch", "restartCount": 4}],
        "containerStatuses": [{"name": "worker", "restartCount": 1}],
    }
    assert overview(resource(), [found], {})["pods"][0]["restarts"] == 7


@pytest.mark.parametrize(
    ("where", "ended", "told"),
    [
        ("containerStatuses", {"reason": "OOMKilled", "exitCode": 137}, "OOMKilled"),
        ("containerStatuses", {"reason": "Completed", "exitCode": 0}, "Completed"),
        ("containerStatuses", {"exitCode": 3}, "ExitCode:3"),
        ("initContainerStatuses", {"reason": "Error", "exitCode": 1}, "Error"),
        ("initContainerStatuses", {"reason": "Completed", "exitCode": 0}, "Running"),
    ],
)
def test_the_state_of_a_pod_tells_containers_that_have_ended(where: str, ended: Object, told: str) -> None:
    found = pod("p")
    found["status"][where] = [{"name": "a", "state": {"terminated": ended}}]
    assert pod_state(found) == told


def test_the_state_of_a_pod_is_kubectls() -> None:
    waiting = pod("p")
    waiting["status"]["containerStatuses"] = [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]
    ending = pod("p")
    ending["metadata"]["deletionTimestamp"] = FIVE_MINUTES_AGO
    assert [pod_state(each) for each in (pod("p"), waiting, ending)] == [
        "Running",
        "ImagePullBackOff",
        "Terminating",
    ]
