"""``kubectl disagg logs`` and ``doctor`` on a real API server, with a stand-in for the kubelet."""

import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from integration.cli.program import OperatorsPart, Program
from integration.cli.workload import Kubelet, make_pod
from integration.operator.control_plane import Api
from testcluster.fixtures import ApiServer

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(240)]

SECRET = "zQxJ-kvWq-9921"  # noqa: S105 - a value for tests
IN_NO_OBJECT = "jWqZ,kQ x41"


@pytest.fixture
def kubelet(apiserver: ApiServer) -> Kubelet:
    return Kubelet(apiserver.plane)


@pytest.fixture
def pods(api: Api, namespace: str, kubelet: Kubelet) -> Iterator[list[str]]:
    """A prefill and a decode worker on a node, each with a log."""
    with kubelet.serve(api) as node:
        env = [{"name": "HF_TOKEN", "value": SECRET}]
        worker = {"name": "worker", "image": "worker", "env": env}
        found = [
            make_pod(api, namespace, role, nodeName=node, containers=[worker])
            for role in ("prefill", "decode")
        ]
        for pod in found:
            kubelet.logs[pod] = [
                f"2026-01-01T00:00:0{number}.000000000Z {pod} says {number}" for number in (1, 2)
            ]
        yield found


def test_logs_of_all_pods_are_read_and_followed_without_a_line_told_twice(
    disagg: Program, kubelet: Kubelet, pods: list[str]
) -> None:
    prefill, decode = pods
    whole = disagg("logs", "demo", "--tail", "5", "--since", "1h")
    assert whole.code == 0, whole.complaint
    assert whole.output.splitlines() == [
        f"[{pod}] {pod} says {each}" for pod in (decode, prefill) for each in (1, 2)
    ]
    assert all("tailLines=5" in asked and "sinceSeconds=3600" in asked for asked in kubelet.asked)
    following = disagg.start("logs", "demo", "--role", "decode", "--follow")
    assert following.stdout is not None
    lines = [following.stdout.readline() for _ in range(2)]
    # The connection has ended, and the log goes on in the same second.
    kubelet.logs[decode].append(f"2026-01-01T00:00:02.000000000Z {decode} says more")
    lines.append(following.stdout.readline())
    following.send_signal(2)
    finished = disagg.finish(following)
    assert [line.split(" says ")[1].strip() for line in lines] == ["1", "2", "more"]
    assert (finished.code, finished.output) == (130, "")


def test_following_ends_when_nobody_reads_any_more(
    disagg: Program, kubelet: Kubelet, pods: list[str]
) -> None:
    following = disagg.start("logs", "demo", "--follow")
    assert following.stdout is not None
    first = following.stdout.readline()
    following.stdout.close()
    for pod in pods:
        kubelet.logs[pod].append(f"2026-01-01T00:00:03.000000000Z {pod} says more")
    ended = disagg.finish(following)
    assert (ended.code, ended.complaint) == (1, "")
    assert " says " in first


def test_doctor_collects_all_without_secrets_and_says_what_is_wrong(
    api: Api, disagg: Program, *, namespace: str, kubelet: Kubelet, pods: list[str], tmp_path: Path
) -> None:
    OperatorsPart(api, namespace).ready(prefill=0)
    kubelet.logs[pods[0]].append(f"2026-01-01T00:00:03.000000000Z logging in with {SECRET}")
    line = f"2026-01-01T00:00:04.000000000Z args=Namespace(api_key={IN_NO_OBJECT!r}, port=80)"
    kubelet.logs[pods[0]].append(line)
    secret = {
        "metadata": {"name": "hf", "labels": {"disagg.dev/deployment": "demo"}},
        "stringData": {"t": SECRET},
    }
    api.create("secrets", namespace, secret)
    target = tmp_path / "bundle.tar.gz"
    found = disagg("doctor", "demo", "--bundle", str(target), "-o", "json")
    assert found.code == 1, found.complaint
    with tarfile.open(target) as archive:
        texts = {
            member.name.partition("/")[2]: file.read().decode()
            for member in archive.getmembers()
            if (file := archive.extractfile(member)) is not None
        }
    assert {"README.txt", "findings.txt", "resource.yaml", f"children/Pod/{pods[0]}.yaml"} <= texts.keys()
    assert "logging in with REMOVED" in texts[f"logs/{pods[0]}/worker.log"]
    assert "args=Namespace(api_key='REMOVED', port=80)" in texts[f"logs/{pods[0]}/worker.log"]
    assert not [path for path, text in texts.items() if "jWqZ" in text or "x41" in text]
    assert "major" in texts["versions.yaml"]
    assert [path for path in texts if path.startswith("nodes/")]
    told = [each["what"] for each in json.loads(found.output)["findings"]]
    assert [what for what in told if "the agent" in what]
    assert not [path for path, text in texts.items() if SECRET in text or SECRET in path]
    assert SECRET not in found.output + found.complaint
    assert target.stat().st_mode & 0o777 == 0o600
    again = disagg("doctor", "demo", "--bundle", str(target))
    assert (again.code, "is there already" in again.complaint) == (3, True)


@pytest.mark.usefixtures("pods")
def test_doctor_says_what_one_may_not_read_and_does_not_call_it_wrong(
    api: Api, user: Callable[..., Program], *, namespace: str, tmp_path: Path
) -> None:
    OperatorsPart(api, namespace).ready()
    few = user(
        {"apiGroups": ["disagg.dev"], "resources": ["disaggdeployments"], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
    )
    found = few("doctor", "demo", "--bundle", str(tmp_path / "bundle.tar.gz"))
    assert found.code == 0, found.output + found.complaint
    nothing, rest = found.output.split("\n", 1)
    assert nothing == "Nothing wrong was found."
    assert rest.startswith("Not looked at, as you may not read it:")
    assert {line.partition(":")[0] for line in rest.splitlines()[1:]} >= {"- nodes", "- logs", "- agents"}
