"""What ``kubectl disagg doctor`` finds wrong with given objects, and what it puts into its bundle."""

import json
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import pytest
from typer.testing import CliRunner

from disagg_operator.cli.doctor import command_line
from disagg_operator.cli.doctor.bundle import files, redactor_of, refuse_taken, text_of, write
from disagg_operator.cli.doctor.collected import OPERATORS, Cause, Collected, Unread
from disagg_operator.cli.doctor.findings import findings
from disagg_operator.cli.doctor.last_lines import LastLines
from disagg_operator.cli.main import app
from disagg_operator.cli.terminal import UserError
from disagg_operator.reconcile.kinds import Object

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
OPERATOR = {
    "metadata": {"namespace": "disagg-system", "name": "disagg-operator"},
    "spec": {"replicas": 1},
    "status": {"readyReplicas": 1},
}


def condition(kind: str, status: str, reason: str) -> Object:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": f"It is {reason}.",
        "lastTransitionTime": "2026-11-26T11:50:00Z",
    }


def collected(*conditions: Object) -> Collected:
    metadata = {"name": "llama", "namespace": "models", "generation": 1}
    good = [condition("Accepted", "True", "Accepted"), condition("Progressing", "False", "Complete")]
    status = {"observedGeneration": 1, "conditions": [*good, *conditions]}
    return Collected(
        {"kind": "DisaggDeployment", "metadata": metadata, "status": status}, operators=[OPERATOR]
    )


def pod(name: str, *statuses: Object, ready: bool = True) -> Object:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "models", "labels": {"disagg.dev/role": "decode"}},
        "spec": {"containers": [{"name": "worker", "image": "w:1"}], "nodeName": "n"},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "worker", "ready": ready, **each} for each in statuses],
        },
    }


def test_a_volume_that_is_missing_is_one_finding_with_the_heading_that_explains_it() -> None:
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "message": '0/1 nodes are available: persistentvolumeclaim "models" not found.',
    }
    stuck = [pod(name, ready=False) for name in ("d-0", "d-1")]
    for each in stuck:
        each["status"]["conditions"].append(unscheduled)
    told = condition("PlatformReady", "False", "VolumeMissing")
    told["message"] = (
        "Namespace models has no PersistentVolumeClaim models. Create it, or correct the field that names "
        "it. See: kubectl get persistentvolumeclaim --namespace models (spec.model.source)"
    )
    (found,) = findings(replace(collected(told), pods=stuck), NOW)
    assert found.what.startswith("PlatformReady is False (VolumeMissing, for 10m): Namespace models has no")
    assert found.what.endswith("The same: pod d-0, pod d-1.")
    assert found.next.startswith("See docs/troubleshooting.md#platformready-volumemissing")


def event(note: str, at: str, kind: str = "Warning") -> Object:
    regarding = {"kind": "Pod", "name": "p"}
    return {
        "type": kind,
        "reason": "Failed",
        "note": note,
        "regarding": regarding,
        "eventTime": at,
        "metadata": {},
    }


def told(found: Collected) -> list[tuple[str, str]]:
    return [(each.what, each.next) for each in findings(found, NOW)]


def test_nothing_is_wrong_with_what_is_well() -> None:
    assert told(collected(condition("Available", "True", "ServingRequests"))) == []
    assert text_of([]) == "Nothing wrong was found.\n"


def test_bad_conditions_are_told_with_the_command_that_says_more() -> None:
    found = told(collected(condition("TransportVerified", "False", "WorseTransport")))
    assert found == [
        (
            "TransportVerified is False (WorseTransport, for 10m): It is WorseTransport.",
            "Mend what it names, then: kubectl disagg verify llama --namespace models",
        )
    ]


def test_an_operator_that_is_gone_or_not_ready_is_told() -> None:
    unseen = collected()
    unseen.resource["status"] = {}
    assert told(replace(unseen, operators=[]))[0][0] == "No operator was found in this cluster."
    down = {**OPERATOR, "status": {}}
    assert told(replace(collected(), operators=[down])) == [
        (
            "The operator disagg-system/disagg-operator is not ready.",
            "kubectl logs --namespace disagg-system deployment/disagg-operator",
        )
    ]


def test_troubled_and_restarted_pods_are_told() -> None:
    waiting = {"state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
    ended = {"reason": "OOMKilled", "exitCode": 137}
    restarted = {"restartCount": 3, "state": {"running": {}}, "lastState": {"terminated": ended}}
    first, second = told(replace(collected(), pods=[pod("a", waiting, ready=False), pod("b", restarted)]))
    assert "cannot get its image (ErrImagePull)" in first[0]
    assert second == (
        "Container worker of pod b (decode) was restarted 3 times; it last ended (OOMKilled, exit code 137).",
        "kubectl logs b --namespace models -c worker --previous",
    )


def test_one_cause_is_one_finding_whoever_tells_it() -> None:
    """Both roles crash for one reason, which two conditions, the pods and their Events tell again."""
    crash = {
        "restartCount": 7,
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting"}},
        "lastState": {"terminated": {"reason": "Error", "exitCode": 1, "message": "No such option: --kv."}},
    }
    pods = [pod(name, crash, ready=False) for name in ("llama-prefill-0", "llama-decode-0")]
    why = findings(replace(collected(), pods=pods[:1]), NOW)[0].what.removeprefix("pod llama-prefill-0: ")
    conditions = [
        {**condition(kind, "False", "RolesNotReady"), "message": why} for kind in ("Available", "ModelReady")
    ]
    back_off = event("Back-off restarting failed container worker in pod x_y(z)", "2026-11-26T11:59:00Z")
    back_off |= {"reason": "BackOff", "regarding": {"kind": "Pod", "name": "llama-decode-0"}}
    again = {**event(why, "2026-11-26T11:59:30Z"), "reason": "RolesNotReady"}
    found = told(replace(collected(*conditions), pods=pods, events=[back_off, again]))
    assert len(found) == 1, found
    ((what, step),) = found
    assert what.count("No such option") == 1
    assert "Available is False" in what
    assert "The same: " in what
    assert all(name in what for name in ("ModelReady is False", "pod llama-decode-0"))
    assert "kubectl" in step


def failed_check(says: str) -> Object:
    message = json.dumps({"preflight": [{"check": "nixlBackend", "ok": False, "says": says}]})
    ended = {"terminated": {"exitCode": 1, "message": message}}
    return {"name": "preflight", "ready": False, "state": ended}


def test_the_next_step_leads_on_and_not_back() -> None:
    """It names the log of what failed, and the page of the reason; never the command that sent here."""
    stuck = pod("llama-decode-0", ready=False)
    stuck["status"]["initContainerStatuses"] = [failed_check("UCX_TLS=self,sm leaves nothing.")]
    (trouble,) = told(replace(collected(), pods=[stuck]))
    conditions = [
        {**condition(kind, status, "RolesNotReady"), "message": trouble[0].partition(": ")[2]}
        for kind, status in (("Progressing", "True"), ("Available", "False"))
    ]
    ((_, step),) = told(replace(collected(*conditions), pods=[stuck]))
    assert step == (
        "kubectl logs llama-decode-0 --namespace models -c preflight; See "
        "docs/troubleshooting.md#rolesnotready"
    )
    unbound = pod("llama-decode-0", ready=False)
    unbound["spec"]["volumes"] = [{"name": "m", "persistentVolumeClaim": {"claimName": "models"}}]
    why = "pod has unbound immediate PersistentVolumeClaims"
    unbound["status"]["conditions"] += [{"type": "PodScheduled", "status": "False", "message": why}]
    ((_, step),) = told(replace(collected(), pods=[unbound]))
    assert step == "kubectl describe persistentvolumeclaims models --namespace models"


def probe(name: str, note: str) -> Object:
    return {
        **event(note, "2026-11-26T11:59:00Z"),
        "reason": "Unhealthy",
        "regarding": {"kind": "Pod", "name": name},
    }


def test_events_that_a_pod_is_past_are_no_findings() -> None:
    started = pod("p", {"state": {"running": {}}, "started": True}, ready=False)
    started["status"]["conditions"].append({"type": "PodScheduled", "status": "True"})
    unscheduled = {**event("0/1 nodes are available", "2026-11-26T11:58:00Z"), "reason": "FailedScheduling"}
    late = probe("p", "Startup probe failed: connection refused")
    assert told(replace(collected(), pods=[started], events=[unscheduled, late])) == []
    starting = pod("p", {"state": {"running": {}}, "started": False}, ready=False)
    assert len(told(replace(collected(), pods=[starting], events=[unscheduled, late]))) == 2


def test_a_frontend_that_waits_for_workers_is_no_finding() -> None:
    frontend = pod("f", {"state": {"running": {}}, "started": True}, ready=False)
    frontend["metadata"]["labels"]["disagg.dev/role"] = "frontend"
    events = [probe("f", "Readiness probe failed: HTTP probe failed with statuscode: 404")]
    assert told(replace(collected(), pods=[frontend, pod("d", ready=False)], events=events)) == []
    assert len(told(replace(collected(), pods=[frontend, pod("d")], events=events))) == 1


def test_restarts_for_the_same_reason_are_one_finding() -> None:
    ended = {"reason": "OOMKilled", "exitCode": 137}
    restarted = {"restartCount": 3, "state": {"running": {}}, "lastState": {"terminated": ended}}
    ((what, step),) = told(replace(collected(), pods=[pod("a", restarted), pod("b", restarted)]))
    assert "of pod a (decode), pod b (decode) was restarted 3 times, 3 times; it last ended (OOM" in what
    assert step == "kubectl logs a --namespace models -c worker --previous"


def test_events_of_pods_that_are_well_now_are_no_findings() -> None:
    probe = {**event("Startup probe failed", "2026-11-26T11:59:00Z"), "reason": "Unhealthy"}
    assert told(replace(collected(), pods=[pod("p")], events=[probe])) == []
    assert len(told(replace(collected(), pods=[pod("p", ready=False)], events=[probe]))) == 1


def test_events_of_the_deployment_itself_are_left_to_its_conditions() -> None:
    """One about a specification that was mended since would tell a healthy deployment off."""
    mended = event("spec.prefill: 2 nodes are too few", "2026-11-26T11:59:00Z")
    mended["regarding"] = {"kind": "DisaggDeployment", "name": "llama"}
    assert told(replace(collected(), events=[mended])) == []


def test_an_agent_that_cannot_run_is_no_finding_of_its_own() -> None:
    crash = {"restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}}
    silent = {"p": "connection refused"}
    assert len(told(replace(collected(), pods=[pod("p", crash, ready=False)], agents=silent))) == 1
    assert len(told(replace(collected(), pods=[pod("p")], agents=silent))) == 1


def test_restarts_of_the_agent_beside_a_worker_are_told_and_those_of_init_containers_are_not() -> None:
    found = pod("b", {"state": {"running": {}}})
    found["spec"]["initContainers"] = [
        {"name": "transport-agent", "restartPolicy": "Always"},
        {"name": "fetch"},
    ]
    ended = {"restartCount": 2, "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
    found["status"]["initContainerStatuses"] = [
        {**ended, "name": "transport-agent", "state": {"running": {}}},
        {**ended, "name": "fetch", "state": {"terminated": {"exitCode": 0}}},
    ]
    assert told(replace(collected(), pods=[found])) == [
        (
            "Container transport-agent of pod b (decode) was restarted 2 times; it last ended (OOMKilled, "
            "exit code 137).",
            "kubectl logs b --namespace models -c transport-agent --previous",
        )
    ]


def test_what_the_user_may_not_read_is_no_finding() -> None:
    unread = {
        "nodes": Unread("you may not", Cause.FORBIDDEN),
        OPERATORS: Unread("you may not", Cause.FORBIDDEN),
        "log a/worker.previous.log": Unread("it is gone", Cause.HARMLESS),
    }
    unseen = replace(collected(), operators=[], unread=unread)
    unseen.resource["status"] = {}
    assert [what.partition(":")[0] for what, _ in told(unseen)] == ["NotSeen"]


def test_bad_nodes_silent_agents_new_warnings_and_what_was_not_read_are_told() -> None:
    node = {
        "metadata": {"name": "n"},
        "status": {
            "conditions": [
                {"type": "Ready", "status": "Unknown", "message": "Kubelet stopped posting."},
                {"type": "DiskPressure", "status": "True"},
            ]
        },
    }
    events = [
        event("old", "2026-11-26T09:00:00Z"),
        event("twice", "2026-11-26T11:58:00Z"),
        event("twice", "2026-11-26T11:59:00Z"),
        event("fine", "2026-11-26T11:59:00Z", "Normal"),
    ]
    found = replace(
        collected(),
        nodes=[node],
        events=events,
        agents={"p": "it is silent", "q": b"{}"},
        unread={"Jobs": Unread("no", Cause.FAILED)},
    )
    assert told(found) == [
        ("Node n is not Ready: Kubelet stopped posting., DiskPressure.", "kubectl describe node n"),
        ("Pod p: it is silent.", "kubectl logs p --namespace models -c transport-agent"),
        ("Event Failed about Pod p 1m ago: twice", "kubectl describe pod p --namespace models"),
        ("Not read: Jobs: no", "Run doctor again; what is listed here may say why."),
    ]


def test_the_bundle_holds_each_thing_once_and_no_path_leads_out_of_it(tmp_path: Path) -> None:
    found = replace(
        collected(),
        pods=[pod("p")],
        children=[{"kind": "Service", "metadata": {"name": "s"}}],
        logs={"../../etc/passwd": "x"},
        agents={"p": b'{"devices": []}', "q": b"no json"},
        nodes=[{"metadata": {"name": "n"}, "status": {"images": ["a"], "capacity": {"cpu": "8"}}}],
    )
    texts = files(found, findings(found, NOW), redactor_of(found), NOW)
    assert {"children/Pod/p.yaml", "children/Service/s.yaml", "agents/p.json", "nodes/n.yaml"} <= texts.keys()
    assert not [path for path in texts if ".." in path]
    assert "images" not in texts["nodes/n.yaml"]
    target = tmp_path / "b.tar.gz"
    write(target, "root", texts, NOW)
    with tarfile.open(target) as archive:
        assert len(archive.getnames()) == len(texts)
    with pytest.raises(UserError, match="--bundle names another file"):
        write(target, "root", texts, NOW)


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("there/b.tar.gz", "is there already"),
        ("missing/b.tar.gz", "there is no folder"),
        ("there/b.tar.gz/c.tar.gz", "cannot be written: Not a directory"),
        ("x" * 300, "cannot be written: File name too long"),
        ("link", "is there already"),
    ],
)
def test_a_place_where_no_bundle_can_be_is_refused_before_anything_is_read(
    tmp_path: Path, place: str, told: str
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "b.tar.gz").touch()
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match=told):
        refuse_taken(tmp_path / place)
    refuse_taken(tmp_path / "b.tar.gz")


def test_a_folder_that_may_not_be_looked_into_is_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Path) -> NoReturn:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", refused)  # root, who may run this, may look everywhere
    with pytest.raises(UserError, match="cannot be written: Permission denied"):
        refuse_taken(tmp_path / "b.tar.gz")


def test_what_is_printed_is_as_free_of_secrets_as_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "zQxJ-kvWq-9921"  # noqa: S105 - a value for tests
    operator = {**OPERATOR, "spec": {"replicas": 1, "template": {"args": [f"--api-key={secret}"]}}}
    found = replace(
        collected(),
        operators=[operator],
        events=[event(f"cannot\x1b[2J log in with {secret}", datetime.now(UTC).isoformat())],
        unread={"nodes": Unread(f"you may not, {secret}", Cause.FORBIDDEN)},
    )
    monkeypatch.setattr(command_line, "connected", lambda *_: found)
    for number, form in enumerate(("text", "json", "yaml")):
        target = str(tmp_path / f"{number}.tar.gz")
        result = CliRunner().invoke(app, ["doctor", "llama", "--bundle", target, "-o", form])
        assert result.exit_code == 1, result.output
        assert "log in with REMOVED" in result.output
        assert "\x1b" not in result.output
        assert "you may not, REMOVED" in result.output
        assert secret not in result.output
        if form == "json":
            assert json.loads(result.stdout)["unread"] == [
                {"what": "nodes", "why": "you may not, REMOVED", "cause": "forbidden"}
            ]


def test_the_last_lines_of_a_log_are_kept() -> None:
    kept = LastLines(10)
    for line in ("abcd", "efgh", "ij"):
        kept.add(line)
    assert (kept.text(), kept.dropped) == ("efgh\nij\n", 1)
    kept.add("longer than all that is kept")
    assert (kept.text(), kept.dropped) == ("", 4)
