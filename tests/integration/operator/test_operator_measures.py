"""Verification on a real API server, by a real operator process, of SIMULATED workers.

The pods are real objects without a node; what stands in for them are HTTP servers on the addresses that their
status names: agents with evidence as EFA would move it, and a frontend.
"""

import itertools
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from integration.operator.control_plane import Api, Deployed, Object, OperatorProcess, eventually
from integration.verification.simulated_workers import (
    Move,
    SimulatedCluster,
    in_background,
    over_efa,
    over_tcp,
)
from unit.verify.simulated import efa_pod

pytestmark = [pytest.mark.apiserver, pytest.mark.timeout(180)]

AGENT_PORT, FRONTEND_PORT = 9095, 8000
_networks = itertools.count(1)


class Verified(Deployed):
    """A deployment of TensorRT-LLM with four GPUs and four EFA devices a pod."""

    def start(self, **verification: Any) -> None:
        self.create(
            model={"name": "m", "source": {"huggingFace": {"repository": "org/m"}}},
            platform="aws-p6-b200.48xlarge",
            runtime={"engine": "trtllm"},
            prefill={"parallelism": {"tensor": 4}},
            decode={"parallelism": {"tensor": 4}},
            verification=verification,
        )

    def run_pods(self, network: str) -> None:
        """STAND-IN for the kubelet: say that all pods run and where, and ready as far as their gates are."""
        address = {"frontend": f"{network}.1", "prefill": f"{network}.2", "decode": f"{network}.3"}
        for pod in self.find("pods"):
            status = running(pod, address[pod["metadata"]["labels"]["disagg.dev/role"]])
            if any(pod["status"].get(key) != value for key, value in status.items()):
                self.api.patch("pods", self.namespace, pod["metadata"]["name"], {"status": status}, "/status")

    def transport(self) -> Object:
        found: Object = self.status().get("transport", {})
        return found


def running(pod: Object, address: str) -> Object:
    """Return the status of a pod whose containers run; a readiness gate that is not true keeps it unready."""
    now = "2026-01-01T00:00:00Z"
    gates = {gate["conditionType"] for gate in pod["spec"].get("readinessGates", [])}
    set_by_others = [found for found in pod["status"].get("conditions", []) if found["type"] in gates]
    open_gates = {found["type"] for found in set_by_others if found["status"] == "True"}
    states = {"PodScheduled": True, "ContainersReady": True, "Ready": open_gates == gates}
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [
            *(
                {"type": kind, "status": str(holds), "lastTransitionTime": now}
                for kind, holds in states.items()
            ),
            *set_by_others,
        ],
    }


@pytest.fixture
def simulate() -> Iterator[Callable[[Move], SimulatedCluster]]:
    """A maker of simulated workers and frontends."""
    with ExitStack() as stack:

        def make(move: Move) -> SimulatedCluster:
            cluster = SimulatedCluster(
                f"127.78.{next(_networks)}",
                efa_pod(),
                efa_pod(),
                move=move,
                port=AGENT_PORT,
                front_port=FRONTEND_PORT,
            )
            return stack.enter_context(in_background(cluster))

        yield make


@pytest.fixture
def demo(api: Api, namespace: str) -> Verified:
    return Verified(api, namespace, f"demo-{secrets.token_hex(2)}")


def test_srd_over_four_of_four_devices_is_verified_once(
    demo: Verified,
    simulate: Callable[[Move], SimulatedCluster],
    new_operator: Callable[..., OperatorProcess],
) -> None:
    workers = simulate(over_efa())
    first = new_operator("operator-a")
    demo.start()
    eventually(
        lambda: demo.condition("TransportVerified")["status"] == "True",
        "the transport is verified",
        seconds=60,
        meanwhile=lambda: demo.run_pods(workers.network),
    )
    condition, transport = demo.condition("TransportVerified"), demo.transport()
    assert condition["reason"] == "AsPromised"
    assert "UCX over srd" in condition["message"]
    assert (transport["observed"], transport["verified"]) == ("NIXL/UCX srd", "True")
    assert (transport["devicesUsed"], transport["devicesGiven"]) == (4, 4)
    assert transport["bytes"] == pytest.approx(transport["expectedBytes"], rel=0.01)
    assert demo.status()["roles"]["decode"]["transport"] == "NIXL/UCX srd"
    assert len(workers.requests) == 2

    first.stop()
    second = new_operator("operator-b")
    second.wait_until_leading()
    time.sleep(5)
    assert len(workers.requests) == 2, "another process does not repeat it"

    demo.patch({"metadata": {"annotations": {"disagg.dev/verify": "once more"}}})
    eventually(lambda: demo.transport().get("request") == "once more", "the request is answered", seconds=90)
    assert demo.transport()["verified"] == "True"
    assert len(workers.requests) == 4


def test_tcp_under_enforce_keeps_a_deployment_from_serving(
    demo: Verified,
    simulate: Callable[[Move], SimulatedCluster],
    new_operator: Callable[..., OperatorProcess],
) -> None:
    workers = simulate(over_tcp)
    new_operator("operator-a")
    demo.start(mode="Enforce")
    eventually(
        lambda: demo.condition("TransportVerified")["status"] == "False",
        "the transport is refused",
        seconds=60,
        meanwhile=lambda: demo.run_pods(workers.network),
    )
    condition = demo.condition("TransportVerified")
    assert condition["reason"] == "WorseTransport"
    assert "UCX over tcp, but the platform promises UCX over srd" in condition["message"]
    available = demo.condition("Available")
    assert available["status"] == "False"
    assert "UCX over tcp" in available["message"]
