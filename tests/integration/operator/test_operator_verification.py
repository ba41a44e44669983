"""Verification of the transport on a real API server: reported, enforced, remembered.

The measurement is FAKE (`simulated_verifier`); the kubelet is a stand-in that minds readiness gates.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from integration.operator import simulated_verifier
from integration.operator.conftest import operators
from integration.operator.control_plane import Api, Deployed, OperatorProcess, eventually
from testcluster.fixtures import ApiServer

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(180)]

GATE = "disagg.dev/transport-verified"
ENFORCE: dict[str, Any] = {"verification": {"mode": "Enforce"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verifier")


@pytest.fixture(scope="module")
def makes(
    apiserver: ApiServer, shared_namespace: str, folder: Path
) -> Iterator[Callable[[str], OperatorProcess]]:
    """A maker of operators with the fake verifier."""
    script = Path(simulated_verifier.__file__)

    with operators(apiserver, shared_namespace, folder) as make:
        yield lambda name: make(
            name, program=(str(script),), VERIFIER_FOLDER=str(folder), DISAGG_RESYNC_SECONDS="5"
        )


@pytest.fixture(scope="module")
def verifying(makes: Callable[[str], OperatorProcess]) -> list[OperatorProcess]:
    """The operator that runs, which a test may replace by another."""
    process = makes("verifying-a")
    process.wait_until_leading()
    return [process]


@pytest.fixture
def demo(api: Api, shared_namespace: str, verifying: list[OperatorProcess]) -> Deployed:  # noqa: ARG001
    return Deployed(api, shared_namespace, f"demo-{secrets.token_hex(2)}", address="10.0.0.1")


@pytest.fixture
def finds(demo: Deployed, folder: Path) -> Callable[..., None]:
    """What the verifier finds, for one request of the user and of a revision or any."""

    def write(verified: str, request: str = "", revision: str = "") -> None:
        reasons = {"True": "Verified", "False": "WorseTransport", "Unknown": "NothingMoved"}
        found = {
            "verified": verified,
            "reason": reasons[verified],
            "message": f"It is {verified}.",
            "label": "" if verified == "Unknown" else "NIXL/UCX tcp",
            "bytes": 42,
            "request": request,
            "revision": revision,
            "time": time.time(),
        }
        draft = folder / f"{demo.name}.new"
        draft.write_text(json.dumps(found))
        draft.rename(folder / f"{demo.name}.json")

    return write


def asked(folder: Path, demo: Deployed) -> list[dict[str, Any]]:
    lines = (folder / "asked.jsonl").read_text().splitlines() if (folder / "asked.jsonl").exists() else []
    return [entry for line in lines if (entry := json.loads(line))["name"] == demo.name]


def gates(demo: Deployed) -> list[str]:
    """Return the status of the readiness gate of each frontend pod; nothing where it was never set."""
    return [
        next((each["status"] for each in pod["status"].get("conditions", []) if each["type"] == GATE), "")
        for pod in demo.find("pods", "frontend")
    ]


def events(demo: Deployed) -> list[str]:
    uid = demo.resource()["metadata"]["uid"]
    found = demo.api.find("events", demo.namespace)
    return [event["reason"] for event in found if event["regarding"].get("uid") == uid]


def annotate(demo: Deployed, text: str) -> None:
    demo.patch({"metadata": {"annotations": {"disagg.dev/verify": text}}})


def test_a_result_is_reported_and_outlives_the_operator(
    demo: Deployed,
    folder: Path,
    finds: Callable[..., None],
    verifying: list[OperatorProcess],
    makes: Callable[[str], OperatorProcess],
) -> None:
    demo.create()
    demo.wait_for("TransportVerified", "Measuring")
    eventually(lambda: demo.status()["transport"].get("step") == "counting bytes", "the step is told")
    (question,) = asked(folder, demo)
    assert question["workers"] == 2
    assert question["frontends"] == ["http://10.0.0.1:8000"]
    finds("True")
    demo.wait_for("TransportVerified", "Verified")
    transport = demo.status()["transport"]
    assert transport["summary"] == transport["observed"] == "NIXL/UCX tcp"
    assert transport["verifiedRevision"] == demo.status()["revision"]
    eventually(lambda: "Verified" in events(demo), "an Event tells it")
    shown = verifying[-1].says("/metrics")
    assert f'disagg_transport_verified{{deployment="{demo.name}",namespace="{demo.namespace}"' in shown

    assert verifying[-1].stop() == 0
    (folder / f"{demo.name}.json").unlink()
    verifying.append(makes("verifying-b"))
    verifying[-1].wait_until_leading()
    demo.edit(decode={"replicas": 2})
    eventually(
        lambda: demo.status()["roles"]["decode"]["ready"] == "2/2",
        "the new operator works",
        meanwhile=demo.make_ready,
    )
    assert len(asked(folder, demo)) == 1, "it does not measure again"
    assert demo.status()["transport"] == transport

    annotate(demo, "please")
    eventually(
        lambda: [each["request"] for each in asked(folder, demo)] == ["", "please"], "it is asked anew"
    )
    finds("False", "please")
    demo.wait_for("TransportVerified", "WorseTransport")
    eventually(lambda: demo.status()["transport"].get("request") == "please", "the request is echoed")
    assert demo.condition("Available")["status"] == "True", "a warning harms nobody"


def test_enforcing_holds_the_frontend_back_until_it_is_verified(
    demo: Deployed, finds: Callable[..., None]
) -> None:
    demo.create(**ENFORCE)
    demo.wait_for("TransportVerified", "Measuring")
    demo.wait_for("Available", "TransportNotVerified")
    assert gates(demo) == [""]
    finds("Unknown")
    demo.wait_for("TransportVerified", "NothingMoved")
    assert demo.condition("TransportVerified")["status"] == "Unknown"
    assert demo.condition("Available")["reason"] == "TransportNotVerified"
    finds("False")
    demo.wait_for("TransportVerified", "WorseTransport")
    assert "It is False." in demo.condition("Available")["message"]
    assert gates(demo) == [""]
    annotate(demo, "mended")
    finds("True", "mended")
    demo.wait_for("Available", "ServingRequests")
    assert gates(demo) == ["True"]
    annotate(demo, "later")
    finds("False", "later")
    demo.wait_for("TransportVerified", "WorseTransport")
    time.sleep(1)
    assert gates(demo) == ["True"], "what was verified once goes on serving"
    assert demo.condition("Available")["status"] == "True"


def test_an_enforced_rollout_waits_for_its_proof(demo: Deployed, finds: Callable[..., None]) -> None:
    finds("True")
    demo.create(**ENFORCE)
    demo.wait_for("Progressing", "Complete")
    old = demo.status()["revision"]
    finds("True", revision=old)
    demo.edit(runtime={"image": "disagg.local/worker:two"})
    demo.wait_for("Progressing", "RolloutInProgress")
    new = demo.status()["updateRevision"]
    end = time.monotonic() + 15
    while time.monotonic() < end:
        demo.make_ready()
        assert demo.status()["revision"] == old
        assert demo.condition("Available")["status"] == "True"
        time.sleep(0.5)
    assert len(demo.children()["statefulsets"]) == 4
    finds("True", revision=new)
    demo.wait_for("Progressing", "Complete")
    assert demo.status()["revision"] == new
    assert demo.status()["transport"]["verifiedRevision"] == new
    assert set(gates(demo)) == {"True"}


def test_what_was_never_verified_makes_room_for_what_is_to_mend_it(
    demo: Deployed, finds: Callable[..., None]
) -> None:
    finds("False")
    demo.create(**ENFORCE)
    demo.wait_for("TransportVerified", "WorseTransport")
    old = {pod["metadata"]["uid"] for pod in demo.find("pods")}
    demo.edit(runtime={"image": "disagg.local/worker:two"})

    def made_way() -> bool:
        there = demo.find("pods")
        images = {pod["spec"]["containers"][0]["image"] for pod in there}
        return images == {"disagg.local/worker:two"} and not old & {pod["metadata"]["uid"] for pod in there}

    eventually(made_way, "old pods go though no new one is ready, as on a cluster without room for both")
    finds("True", revision=demo.status()["updateRevision"])
    demo.wait_for("Progressing", "Complete")
    assert demo.condition("Available")["status"] == "True"
    (frontend,) = demo.find("deployments")
    assert frontend["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_what_is_switched_off_has_no_agent_and_no_verdict(demo: Deployed) -> None:
    demo.create(verification={"mode": "Off"})
    demo.wait_for("Progressing", "Complete")
    assert demo.condition("TransportVerified")["reason"] == "SwitchedOff"
    assert demo.condition("TransportVerified")["status"] == "Unknown"
    for pod in demo.find("pods", "prefill"):
        assert "transport-agent" not in [each["name"] for each in pod["spec"].get("initContainers", [])]


@pytest.mark.parametrize("resources", [{}, {"limits": {"cpu": "1", "memory": "1Gi"}}])
def test_the_api_server_takes_the_sidecar_in_a_restricted_namespace(
    api: Api, demo: Deployed, resources: dict[str, Any]
) -> None:
    enforced = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    api.patch_at(f"/api/v1/namespaces/{demo.namespace}", enforced)
    demo.create(prefill={"resources": resources})
    (pod,) = eventually(lambda: demo.find("pods", "prefill"), "there is a prefill pod")
    assert pod["spec"]["shareProcessNamespace"] is True
    agent = pod["spec"]["initContainers"][-1]
    assert (agent["name"], agent["restartPolicy"]) == ("transport-agent", "Always")
    assert pod["status"]["qosClass"] == ("Guaranteed" if resources else "Burstable")
