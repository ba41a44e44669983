"""``kubectl disagg verify`` on a real API server; the operator's part is played by the test."""

import json
import secrets
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from integration.cli.program import OperatorsPart, Program
from integration.operator.control_plane import Api, Object, eventually

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(180)]

DEPLOYMENTS = "disaggdeployments"
READ: Object = {"apiGroups": ["disagg.dev"], "resources": [DEPLOYMENTS], "verbs": ["get", "watch"]}
WRITE: Object = {"apiGroups": ["disagg.dev"], "resources": [DEPLOYMENTS], "verbs": ["patch"]}


@pytest.fixture
def operator(api: Api, namespace: str) -> OperatorsPart:
    """The test itself, in the operator's place."""
    part = OperatorsPart(api, namespace)
    part.ready()
    return part


def post_event(api: Api, namespace: str, reason: str, note: str) -> None:
    resource = api.get(DEPLOYMENTS, namespace, "demo")
    regarding = {"apiVersion": "disagg.dev/v1alpha1", "kind": "DisaggDeployment", "name": "demo"}
    event = {
        "metadata": {"name": f"demo.{secrets.token_hex(4)}"},
        "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": "disagg.dev/operator",
        "reportingInstance": "a",
        "action": "Reconcile",
        "type": "Normal",
        "reason": reason,
        "note": note,
        "regarding": {**regarding, "namespace": namespace, "uid": resource["metadata"]["uid"]},
    }
    api.create("events", namespace, event)


def test_steps_events_and_result_come_live_and_verified_is_success(
    api: Api, disagg: Program, operator: OperatorsPart, namespace: str
) -> None:
    post_event(api, namespace, "Old", "This was before.")
    process = disagg.start("verify", "demo")
    request = operator.asked()
    assert process.stdout is not None
    assert request in process.stdout.readline()
    operator.step("sending a canary of about 512 tokens")
    # It is shown while the measurement still runs.
    shown = [process.stdout.readline(), process.stdout.readline()]
    assert any("sending a canary of about 512 tokens" in line for line in shown), shown
    post_event(api, namespace, "Verified", "KV cache moves over UCX tcp.")
    assert "Event Verified: KV cache moves over UCX tcp." in process.stdout.readline()
    operator.result(
        **{"request": request, "verified": "True", "reason": "Verified", "observed": "NIXL/UCX tcp"},
        **{"bytes": 23_592_960, "expectedBytes": 23_592_960, "gbps": 0.8, "confidence": "High"},
        evidence=["engine read 23592960 bytes over tcp/eth0"],
    )
    finished = disagg.finish(process)
    assert finished.code == 0, finished.complaint
    assert "23,592,960 bytes of 23,592,960 expected (100.0%)" in finished.output
    assert "engine read 23592960 bytes over tcp/eth0" in finished.output
    assert "This was before." not in finished.output
    # Who asked is on record, apart from the operator.
    managers = api.http.get(api.path(DEPLOYMENTS, namespace, "demo")).json()["metadata"]["managedFields"]
    assert "kubectl-disagg" in {entry["manager"] for entry in managers}


@pytest.mark.parametrize(
    ("verified", "reason", "code"),
    [
        ("False", "WorseTransport", 1),
        ("Unknown", "NothingMoved", 2),
    ],
)
def test_scripts_read_the_result_from_exit_code_and_document(
    disagg: Program, operator: OperatorsPart, verified: str, reason: str, code: int
) -> None:
    process = disagg.start("verify", "demo", "-o", "json")
    operator.result(request=operator.asked(), verified=verified, reason=reason)
    finished = disagg.finish(process)
    assert finished.code == code, finished.complaint
    found: dict[str, Any] = json.loads(finished.output)
    assert (found["verified"], found["reason"]) == (verified, reason)
    again = disagg("verify", "demo", "-o", "json", "--no-run")
    assert (again.code, json.loads(again.output)) == (code, found)


def test_an_operator_that_never_answers_is_told_from_workers_that_are_not_ready(
    api: Api, disagg: Program, namespace: str
) -> None:
    silent = disagg.start("verify", "demo")
    operator = OperatorsPart(api, namespace)
    operator.asked()
    finished = disagg.finish(silent)
    assert finished.code == 3
    assert "no operator has taken the request up within 30 s" in finished.complaint
    operator.ready(prefill=0)
    finished = disagg("verify", "demo", "--timeout", "2s")
    assert finished.code == 4
    assert "waiting until all are ready: prefill 0/1" in finished.complaint


def test_a_deployment_that_changes_while_it_is_asked_is_followed_to_its_result(
    api: Api, disagg: Program, operator: OperatorsPart, namespace: str
) -> None:
    process = disagg.start("verify", "demo", "-o", "json")
    request = operator.asked()
    for round_ in range(5):
        api.patch(DEPLOYMENTS, namespace, "demo", {"metadata": {"labels": {"round": str(round_)}}})
    operator.result(request=request, verified="True", reason="Verified")
    assert disagg.finish(process).code == 0


@pytest.mark.parametrize(("rules", "verb"), [([], "get"), ([READ], "patch")])
def test_a_right_that_is_lacking_is_named(
    user: Callable[..., Program], rules: list[Object], verb: str
) -> None:
    finished = user(*rules)("verify", "demo")
    assert finished.code == 3
    assert f"the RBAC verb '{verb}' on 'disaggdeployments.disagg.dev'" in finished.complaint


def test_who_may_read_and_annotate_needs_no_more(
    user: Callable[..., Program], operator: OperatorsPart
) -> None:
    few = user(READ, WRITE)
    process = few.start("verify", "demo")
    operator.result(request=operator.asked(), verified="True", reason="Verified")
    finished = few.finish(process)
    assert finished.code == 0, finished.complaint
    assert "Events are not shown: you may not list events.events.k8s.io" in finished.output


def test_what_cannot_be_verified_is_said_at_once(api: Api, disagg: Program, namespace: str) -> None:
    missing = disagg("verify", "other")
    assert missing.code == 3
    assert f"there is no DisaggDeployment other in namespace {namespace}" in missing.complaint
    api.patch(DEPLOYMENTS, namespace, "demo", {"spec": {"verification": {"mode": "Off"}}})
    off = disagg("verify", "demo")
    assert off.code == 3
    assert "spec.verification.mode is Off" in off.complaint


def test_an_interruption_is_no_result(disagg: Program, operator: OperatorsPart) -> None:
    process = disagg.start("verify", "demo")
    operator.asked()
    process.send_signal(signal.SIGINT)
    assert disagg.finish(process).code == 130


def test_profile_names_who_has_no_pod_and_which_right_is_lacking(
    api: Api, disagg: Program, user: Callable[..., Program], namespace: str
) -> None:
    nobody = disagg("profile", "demo")
    assert nobody.code == 1
    assert "no decode worker of demo is ready (there are: none)" in nobody.complaint
    pods = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}
    few = user(READ, pods)
    eventually(lambda: api.find("serviceaccounts", namespace), "there is a ServiceAccount")
    labels = {"disagg.dev/deployment": "demo", "disagg.dev/role": "decode"}
    pod = {"metadata": {"name": "d", "labels": labels}, "spec": {"containers": [{"name": "w", "image": "i"}]}}
    api.create("pods", namespace, pod)
    refused = few("profile", "demo", "--pod", "d")
    assert refused.code == 1
    assert "the RBAC verbs 'get' and 'create' on 'pods/exec'" in refused.complaint
