"""What ``kubectl disagg doctor`` finds wrong with given objects, and what it puts into its bundle."""

import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from disagg_operator.cli.doctor.bundle import files, text_of, write
from disagg_operator.cli.doctor.collected import Collected
from disagg_operator.cli.doctor.findings import findings
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
        "metadata": {"name": name, "labels": {"disagg.dev/role": "decode"}},
        "spec": {"containers": [{"name": "worker", "image": "w:1"}], "nodeName": "n"},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": "worker", "ready": ready, **each} for each in statuses],
        },
    }


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
            "kubectl disagg verify llama --namespace models; docs/verification.md has each reason with its "
            "remedy.",
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
        unread={"Jobs": "no"},
    )
    assert [what for what, _ in told(found)] == [
        "Node n is not Ready: Kubelet stopped posting., DiskPressure.",
        "Pod p: it is silent.",
        "Event Failed about Pod p 1m ago: twice",
        "Not read: Jobs: no",
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
    texts = files(found, findings(found, NOW), NOW)
    assert {"children/Pod/p.yaml", "children/Service/s.yaml", "agents/p.json", "nodes/n.yaml"} <= texts.keys()
    assert not [path for path in texts if ".." in path]
    assert "images" not in texts["nodes/n.yaml"]
    target = tmp_path / "b.tar.gz"
    write(target, "root", texts, NOW)
    with tarfile.open(target) as archive:
        assert len(archive.getnames()) == len(texts)
    with pytest.raises(UserError, match="--bundle names another file"):
        write(target, "root", texts, NOW)
