"""``kubectl disagg rollout`` as a user calls it. SIMULATED is the API server."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from disagg_operator.cli.live import connection, rollouts
from disagg_operator.cli.main import app
from disagg_operator.reconcile.kinds import Object
from unit.cli.fake_cluster import FakeCluster

SPEC: dict[str, Any] = {
    "model": {"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
    "prefill": {"replicas": 2},
    "decode": {"replicas": 1},
}


def resource(image: str, **more: Any) -> Object:
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {
            "name": "llama",
            "namespace": "models",
            "uid": "u",
            "resourceVersion": "1",
            "generation": 2,
        },
        "spec": {**SPEC, "runtime": {"image": image}, **more},
    }


def reported(reason: str, status: str = "True", generation: int = 2, **more: Any) -> Object:
    condition = {"type": "Progressing", "status": status, "reason": reason, "message": f"It is {reason}."}
    conditions = [{**condition, "observedGeneration": generation}]
    return {
        **resource("worker:2"),
        "status": {"updateRevision": "newnewnw", "conditions": conditions, **more},
    }


def workers(revision: str, prefill: int, decode: int) -> list[Object]:
    return [
        {
            "kind": "StatefulSet",
            "metadata": {
                "name": f"llama-{role}-{revision}",
                "labels": {"disagg.dev/role": role, "disagg.dev/revision": revision},
            },
            "spec": {"replicas": count},
            "status": {"readyReplicas": count, "availableReplicas": count, "replicas": count},
        }
        for role, count in (("prefill", prefill), ("decode", decode))
    ]


def call(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, ["rollout", *arguments], input=text)


def on(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, *arguments: str, text: str | None = None
) -> Result:
    monkeypatch.setattr(connection, "connect", cluster.connect)
    return call(*arguments, text=text)


@pytest.fixture
def change(tmp_path: Path) -> list[str]:
    """Options for a change of the image, offline."""
    files = [tmp_path / "old.yaml", tmp_path / "new.yaml"]
    for number, file in enumerate(files, start=1):
        file.write_text(yaml.safe_dump(resource(f"worker:{number}")))
    return ["--from", str(files[0]), "-f", str(files[1])]


def test_a_plan_is_a_table_with_a_row_for_each_step(change: list[str]) -> None:
    title, headings, *rows = call("plan", *change).stdout.splitlines()
    assert title.startswith("models/llama: Surge from ")
    assert "prefill: maxSurge 1, maxUnavailable 0" in title
    assert headings.split()[:3] == ["Step", "New", "prefill"]
    assert [row.split()[:5] for row in rows] == [
        ["1", "1", "1", "2", "1"],
        ["2", "1", "1", "1", "1"],
        ["3", "2", "1", "1", "1"],
        ["4", "2", "1", "0", "0"],
    ]


def test_a_plan_is_json_for_programs(change: list[str]) -> None:
    found = json.loads(call("plan", *change, "-o", "json").stdout)
    assert found["limits"]["decode"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert found["steps"][0] == {
        "new": {"prefill": 1, "decode": 1},
        "old": {"prefill": 2, "decode": 1},
        "serving": {"prefill": 2, "decode": 1},
        "present": {"prefill": 3, "decode": 2},
    }
    assert len(found["oldRevisions"]) == 1
    assert found["newRevision"] not in found["oldRevisions"]


def test_a_change_that_restarts_nothing_has_no_steps(change: list[str]) -> None:
    result = call("plan", "--from", change[1], "-f", change[1])
    assert result.stdout == "models/llama: no worker is started or restarted\n"


def test_a_plan_warns_where_nothing_serves_for_a_while(change: list[str], tmp_path: Path) -> None:
    full = {"prefill": {"maxSurge": 0}, "decode": {"maxSurge": 0}}
    file = tmp_path / "full.yaml"
    file.write_text(yaml.safe_dump(resource("worker:2", rollout=full)))
    result = call("plan", "--from", change[1], "-f", str(file))
    assert "warning: no request is served in steps 1 to 2" in result.stderr


def test_a_plan_of_what_cannot_be_accepted_says_why(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    none = {"maxSurge": 0, "maxUnavailable": 0}
    file.write_text(yaml.safe_dump(resource("worker:2", rollout={"decode": none})))
    result = call("plan", "--from", str(file), "-f", str(file))
    assert result.exit_code == 1
    assert "spec.rollout.decode.maxUnavailable: with no instance more" in result.stderr
    twice = call("plan", "--from", "-", "-f", str(file), text="---\n".join([file.read_text()] * 2))
    assert "write one" in twice.stderr or "spec.rollout" in twice.stderr


def test_a_plan_against_the_cluster_starts_with_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(reported("Complete", "False"))
    cluster.children = workers("oldoldol", 2, 1)
    change = yaml.safe_dump(resource("worker:3"))
    result = on(cluster, monkeypatch, "plan", "-f", "-", text=change)
    assert result.exit_code == 0, result.output
    assert "Surge from oldoldol to " in result.stdout
    assert len(result.stdout.splitlines()) == 6


def test_a_plan_shows_what_is_left_of_a_rollout_that_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(reported("RolloutInProgress"))
    cluster.children = [*workers("oldoldol", 1, 1), *workers("newnewnw", 2, 1)]
    same = yaml.safe_dump(resource("worker:2"))
    result = on(cluster, monkeypatch, "plan", "-f", "-", text=same)
    assert "from oldoldol to newnewnw" in result.stdout
    assert [row.split()[:5] for row in result.stdout.splitlines()[2:]] == [["1", "2", "1", "0", "0"]]


def test_a_plan_of_what_is_not_there_yet_starts_all(monkeypatch: pytest.MonkeyPatch) -> None:
    result = on(FakeCluster(None), monkeypatch, "plan", "-f", "-", text=yaml.safe_dump(resource("worker:2")))
    assert "from nothing to " in result.stdout
    assert not result.stderr


@pytest.mark.parametrize(
    ("resource", "code", "row"),
    [
        (reported("Complete", "False"), 0, "newnewnw  current"),
        (reported("RolloutInProgress"), 2, "newnewnw  current"),
        (reported("Complete", "False", generation=1), 2, "newnewnw"),
        (reported("RolloutPaused", "False"), 1, "newnewnw"),
    ],
)
def test_status_says_where_a_rollout_stands(
    monkeypatch: pytest.MonkeyPatch, resource: Object, code: int, row: str
) -> None:
    cluster = FakeCluster(resource)
    cluster.children = workers("newnewnw", 2, 1)
    result = on(cluster, monkeypatch, "status", "llama", "--no-watch")
    assert result.exit_code == code, result.output
    assert row in result.stdout
    assert "2/2" in result.stdout


def test_status_waits_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(reported("RolloutInProgress"))
    late = on(cluster, monkeypatch, "status", "llama", "--timeout", "0.01s")
    assert (late.exit_code, "Last seen: It is RolloutInProgress." in late.stderr) == (4, True)
    cluster.resource = reported("ProgressDeadlineExceeded", "False")
    cluster.children = workers("oldoldol", 2, 1)
    failed = on(cluster, monkeypatch, "status", "llama")
    assert failed.exit_code == 1
    assert "oldoldol  restored" in failed.stdout
    missing = on(FakeCluster(None), monkeypatch, "status", "llama")
    assert (missing.exit_code, "there is no DisaggDeployment llama" in missing.stderr) == (3, True)


def test_pause_and_resume_write_one_field(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(resource("worker:1"))
    assert on(cluster, monkeypatch, "pause", "llama").stdout == "llama is paused\n"
    assert on(cluster, monkeypatch, "pause", "llama").stdout == "llama is paused already\n"
    assert on(cluster, monkeypatch, "resume", "llama").stdout == "llama is not paused\n"
    assert cluster.merged == [{"spec": {"rollout": {"paused": paused}}} for paused in (True, False)]


def test_retry_asks_for_another_try_of_what_was_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = FakeCluster(reported("Complete", "False"))
    assert "nothing to try again" in on(cluster, monkeypatch, "retry", "llama").stderr
    record = {"revision": "newnewnw", "failedReason": "ProgressDeadlineExceeded"}
    cluster = FakeCluster(reported("ProgressDeadlineExceeded", "False", rollout=record))
    cluster.conflicts = 1
    assert on(cluster, monkeypatch, "retry", "llama").stdout == "revision newnewnw of llama is tried again\n"
    assert len(cluster.annotated) == 1


def test_a_step_that_differs_in_time_and_process_of_a_log_s_line_is_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The state is another at each look."""
    first, second = (reported("RolesNotReady") for _ in range(2))
    for state, stamp in ((first, "[1795758882.685609] [p:19   :0]"), (second, "[1795758890.1] [p:7    :0]")):
        state["status"]["conditions"][0]["message"] = f"Pod d: {stamp} select.c:722  UCX  ERROR no way."
    result = followed(monkeypatch, first, second, reported("Complete", "False"))
    assert result.exit_code == 0
    assert result.stderr.count("no way") == 1
    assert "select.c" not in result.stderr


def test_status_tells_each_step_of_a_measurement_once(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = ("asking prefill", "asking prefill", "sending the canary", None)
    states = [reported("RolesNotReady", transport={"step": step}) for step in steps]
    result = followed(monkeypatch, *states, reported("Complete", "False"))
    assert result.stderr.count("measures how KV cache moves: asking prefill") == 1
    assert result.stderr.count("measures how KV cache moves: sending the canary") == 1


def followed(monkeypatch: pytest.MonkeyPatch, *states: Object) -> Result:
    """Follow a deployment that is in another state at each look."""
    left = list(states)

    class Changing(FakeCluster):
        async def get(self, *_: Any) -> Object:
            return left.pop(0)

    monkeypatch.setattr(rollouts, "_POLL_SECONDS", 0.0)
    return on(Changing(states[0]), monkeypatch, "status", "llama")
