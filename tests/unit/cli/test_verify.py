"""``kubectl disagg verify`` as a user calls it. SIMULATED are the API server and the operator."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from disagg_operator.cli.cluster_options import seconds
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.live import connection, verification
from disagg_operator.cli.main import app
from disagg_operator.reconcile.kinds import Object
from unit.cli.fake_cluster import FakeCluster, deployment

RESULT: Object = {
    "observed": "NIXL/UCX srd",
    "verified": "True",
    "reason": "Verified",
    "message": "KV cache moved over UCX srd.",
    "bytes": 11_900_000,
    "expectedBytes": 11_796_480,
    "gbps": 12.5,
    "devicesUsed": 4,
    "devicesGiven": 4,
    "confidence": "High",
    "evidence": ["rdmap40s0 received 3 MB", "log: srd/rdmap40s0:1"],
    "revision": "r",
    "time": "2026-11-25T10:00:00Z",
}


def answered(**changed: Any) -> Any:
    """Return an operator that tells two steps and then a result."""

    def answers(request: str) -> list[Object]:
        return [
            deployment({"step": "reading the counters of 2 workers"}),
            deployment({"step": "sending a canary of about 512 tokens"}),
            deployment({**RESULT, **changed, "request": request}),
        ]

    return answers


def call(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    monkeypatch.setattr(connection, "connect", cluster.connect)
    return CliRunner().invoke(app, ["verify", "llama", *arguments])


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait no more than a moment for a sign of the operator."""
    patience = verification.Patience
    monkeypatch.setattr(verification, "Patience", lambda result: patience(result, 0.1))


def test_steps_events_and_the_result_are_rows_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(deployment(), answered())
    cluster.events = [{"reason": "TransportVerified", "note": "It is\nverified.", "type": "Normal"}]
    result = call(cluster, monkeypatch)
    assert result.exit_code == 0, result.stderr
    lines = [line.strip() for line in result.stdout.splitlines()]
    said = [line.split(" s  ", 1)[1] for line in lines if " s  " in line[:12]]
    (request,) = cluster.annotated
    assert said == [
        f"asked the operator: annotation disagg.dev/verify={request}",
        "waiting for the operator to take the request up",
        "Event TransportVerified: It is verified.",
        "reading the counters of 2 workers",
        "sending a canary of about 512 tokens",
    ]
    rows = {tuple(line.split(None, 1)) for line in lines}
    assert rows >= {
        ("verified", "True (Verified)"),
        ("transport", "NIXL/UCX srd"),
        ("KV", "cache    11,900,000 bytes of 11,796,480 expected (100.9%)"),
        ("rate", "12.5 GB/s"),
        ("devices", "4 used of 4 given"),
        ("confidence", "High"),
        ("evidence", "log: srd/rdmap40s0:1"),
    }


@pytest.mark.parametrize(("verified", "code"), [("True", 0), ("False", 1), ("Unknown", 2)])
def test_the_exit_code_tells_the_result(verified: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(FakeCluster(deployment(), answered(verified=verified)), monkeypatch).exit_code == code


@pytest.mark.parametrize(("form", "load"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_document_holds_the_result_alone_and_steps_go_to_standard_error(
    form: str, load: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeCluster(deployment(), answered())
    result = call(cluster, monkeypatch, "-o", form)
    found = load(result.stdout)
    assert found["evidence"] == RESULT["evidence"]
    assert (found["namespace"], found["name"], found["verified"]) == ("models", "llama", "True")
    assert found["request"] == cluster.annotated[0]
    assert "step" not in found
    assert "sending a canary" in result.stderr


def test_only_the_last_result_is_shown_where_nothing_is_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(deployment({**RESULT, "verified": "False", "reason": "WorseTransport"}))
    result = call(cluster, monkeypatch, "--no-run")
    assert result.exit_code == 1
    assert "False (WorseTransport)" in result.stdout
    assert not cluster.annotated


def test_a_deployment_never_measured_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    result = call(FakeCluster(deployment()), monkeypatch, "--no-run")
    assert result.exit_code == 2
    assert "Unknown (NotSeen)" in result.stdout
    assert "not seen; configured is NIXL/UCX" in result.stdout


def stuck() -> Object:
    """Return a deployment whose workers wait for a volume."""
    found = deployment(prefill=0)
    missing = (
        "Namespace models has no PersistentVolumeClaim m. Create it, or correct the field that names it."
    )
    found["status"]["conditions"] = [
        {"type": "PlatformReady", "status": "False", "reason": "VolumeMissing", "message": missing},
        {
            "type": "TransportVerified",
            "status": "Unknown",
            "reason": "WorkersNotReady",
            "message": "It is measured once all prefill workers are ready.",
        },
    ]
    return found


def test_why_workers_do_not_run_and_what_to_do_next_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    result = call(FakeCluster(stuck()), monkeypatch, "--no-run")
    assert result.exit_code == 2
    rows = dict(line.split("  ", 1) for line in result.stdout.splitlines() if "  " in line)
    told = {name: value.strip() for name, value in rows.items()}
    assert told["verified"] == "Unknown (WorkersNotReady)"
    assert told["message"] == "It is measured once all prefill workers are ready."
    assert (
        told["waits for"] == "PlatformReady VolumeMissing: Namespace models has no PersistentVolumeClaim m."
    )
    assert told["next"] == "kubectl disagg doctor llama --namespace models"
    found = json.loads(call(FakeCluster(stuck()), monkeypatch, "--no-run", "-o", "json").stdout)
    assert (found["reason"], found["waitsFor"]["reason"]) == ("WorkersNotReady", "VolumeMissing")


def test_who_waits_for_a_result_is_told_why_workers_do_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    result = call(FakeCluster(stuck()), monkeypatch, "--timeout", "0.5s")
    text = failure(result, Code.TIMEOUT)
    why = (
        "waiting until all are ready: prefill 0/1. PlatformReady VolumeMissing: Namespace models has no "
        "PersistentVolumeClaim m. See: kubectl disagg doctor llama --namespace models"
    )
    assert why in text
    assert why in " ".join(result.stdout.split())


def failure(result: Result, code: Code = Code.ERROR) -> str:
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def test_a_deployment_that_is_not_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    text = failure(call(FakeCluster(None), monkeypatch))
    assert "there is no DisaggDeployment llama in namespace models" in text


@pytest.mark.parametrize("verb", ["get", "patch", "watch"])
def test_a_right_that_is_lacking_is_named(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(deployment(), answered())
    cluster.refused = {(verb, "DisaggDeployment")}
    text = failure(call(cluster, monkeypatch))
    assert f"the RBAC verb '{verb}' on 'disaggdeployments.disagg.dev'" in text


@pytest.mark.parametrize("verb", ["list", "watch"])
def test_who_may_not_read_events_gets_the_result_all_the_same(
    verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = FakeCluster(deployment(), answered())
    cluster.refused = {(verb, "Event")}
    result = call(cluster, monkeypatch)
    assert result.exit_code == 0
    assert "Events are not shown" in result.stdout


def test_verification_that_is_off_says_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(deployment(verification={"mode": "Off"}))
    text = failure(call(cluster, monkeypatch))
    assert '--patch \'{"spec": {"verification": {"mode": "Warn"}}}\'' in text
    assert not cluster.annotated


def test_a_paused_deployment_is_said_to_be_paused(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = deployment()
    resource["metadata"]["annotations"] = {"disagg.dev/paused": "true"}
    assert "disagg.dev/paused-" in failure(call(FakeCluster(resource), monkeypatch))


def test_an_operator_that_does_not_answer_is_said_with_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    # A step that was there before may be of an operator that has ended since.
    cluster = FakeCluster(deployment({"step": "watching other traffic for 2 s"}))
    text = failure(call(cluster, monkeypatch))
    assert "no operator has taken the request up within 0.1 s" in text
    assert "kubectl get pods" in text


def test_what_is_not_ready_is_waited_for_longer_than_a_silent_operator(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    impatient(monkeypatch)
    cluster = FakeCluster(deployment(prefill=0))
    result = call(cluster, monkeypatch, "--timeout", "0.5s")
    text = failure(result, Code.TIMEOUT)
    assert "no result within 0.5 s" in text
    assert "waiting until all are ready: prefill 0/1" in text
    assert "waiting until all are ready: prefill 0/1" in result.stdout


def test_a_rollout_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = deployment()
    resource["status"]["updateRevision"] = "s"
    text = failure(call(FakeCluster(resource), monkeypatch, "--timeout", "0.2"), Code.TIMEOUT)
    assert "the rollout to revision s" in text


def test_a_deployment_that_is_deleted_meanwhile_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = FakeCluster(deployment(), lambda _: [{**deployment(), "event": "DELETED"}])
    assert "was deleted meanwhile" in failure(call(gone, monkeypatch))


def test_the_request_of_somebody_who_asked_later_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    def answers(_: str) -> list[Object]:
        state = deployment({**RESULT, "request": "theirs"})
        state["metadata"]["annotations"] = {"disagg.dev/verify": "theirs"}
        return [state]

    result = call(FakeCluster(deployment(), answers), monkeypatch)
    assert result.exit_code == 0
    assert "somebody asked again (disagg.dev/verify=theirs)" in result.stdout


def test_a_write_in_between_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(deployment(), answered())
    cluster.conflicts = 2
    assert call(cluster, monkeypatch).exit_code == 0


def test_wrong_usage_and_bugs_have_codes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(FakeCluster(None), monkeypatch, "--nope").exit_code == Code.USAGE
    assert call(FakeCluster(None), monkeypatch, "--timeout", "soon").exit_code == Code.USAGE
    assert call(FakeCluster({"metadata": {}}), monkeypatch).exit_code == Code.BUG
    assert CliRunner().invoke(app, ["verify", "--help"]).exit_code == 0


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h", 3600)])
def test_durations_are_read_as_kubectl_writes_them(text: str, expected: float) -> None:
    assert seconds(text) == expected


def test_no_kubeconfig_is_a_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    result = CliRunner().invoke(app, ["verify", "llama"])
    assert "the kubeconfig cannot be used" in failure(result)


def test_commands_without_a_cluster_start_without_its_client() -> None:
    program = (
        "import sys, typer.main; from disagg_operator.cli.main import app; "
        "[*typer.main.get_command(app).commands.values()]; "
        "assert 'disagg_operator.cli.verify' in sys.modules; "
        "print([name for name in ('kubernetes', 'aiohttp', 'kopf') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
