"""Proof of transport on a real cluster: KV cache of the reference engine goes over TCP, and that is said."""

import re

import pytest

from e2e.cluster_client import Object, eventually
from e2e.deployments import Deployment, spec
from e2e.installation import Installed

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

# SmolLM2-135M in the reference engine: keys and values of 30 layers, 3 KV heads, 64 numbers of 4 bytes each.
TOKEN_BYTES = 2 * 30 * 3 * 64 * 4
PROMPT_TOKENS = 1500


def measured(deployment: Deployment, request: str) -> Object:
    """Ask for a measurement and return what the status says of it."""
    deployment.patch(f'{{"spec": {{"verification": {{"promptTokens": {PROMPT_TOKENS}}}}}}}')
    deployment.patch(f'{{"metadata": {{"annotations": {{"disagg.dev/verify": "{request}"}}}}}}')

    def check() -> Object:
        transport: Object = deployment.read()["status"]["transport"]
        assert transport.get("request") == request, f"not measured yet: {transport.get('step')}"
        return transport

    return eventually(check, 120)


def test_ucx_over_tcp_is_proven_with_the_bytes_of_the_formula(quickstart: Deployment) -> None:
    transport = measured(quickstart, "with a long prompt")
    condition = quickstart.wait("TransportVerified")
    assert (transport["observed"], transport["verified"]) == ("NIXL/UCX tcp", "True")
    assert "UCX over tcp" in condition["message"]
    assert transport["confidence"] == "High", transport["evidence"]
    canary = next(line for line in transport["evidence"] if line.startswith("canary: "))
    tokens = int(canary.split()[1])
    assert tokens == pytest.approx(PROMPT_TOKENS, rel=0.1)
    assert transport["expectedBytes"] == tokens * TOKEN_BYTES
    assert transport["bytes"] == pytest.approx(tokens * TOKEN_BYTES, rel=0.02)


def test_the_interfaces_of_both_pods_counted_it(quickstart: Deployment) -> None:
    evidence = quickstart.read()["status"]["transport"]["evidence"]
    line = next(line for line in evidence if line.startswith("network interfaces: "))
    sent, received = (float(number) for number in re.findall(r"([\d.]+) MB", line))
    expected = quickstart.read()["status"]["transport"]["expectedBytes"] / 1e6
    assert sent == pytest.approx(expected, rel=0.1)
    assert received == pytest.approx(expected, rel=0.1)


def test_a_user_sees_it_in_the_columns_and_in_events(quickstart: Deployment) -> None:
    wide = quickstart.kubectl("get", "dd", quickstart.name, f"--namespace={quickstart.namespace}")
    header, row = wide.splitlines()[:2]
    assert "TRANSPORT" in header
    assert "VERIFIED" in header
    assert re.search(r"\bNIXL/UCX tcp\s+True\b", row), row
    events = quickstart.kubectl(
        "get",
        "events",
        f"--namespace={quickstart.namespace}",
        "--field-selector=reason=AsPromised",
        "--output=name",
    )
    assert events.strip()


def test_a_frontend_serves_only_once_its_transport_is_verified_where_that_is_enforced(
    installed: Installed, namespace: str
) -> None:
    deployment = Deployment(installed.kubectl, namespace, "enforced")
    installed.kubectl.apply_to(namespace, spec(deployment.name, verification={"mode": "Enforce"}))
    try:
        deployment.wait_complete(240)
        transport = deployment.read()["status"]["transport"]
        assert (transport["observed"], transport["verified"]) == ("NIXL/UCX tcp", "True")
        (pod,) = deployment.pods("frontend")
        conditions = {found["type"]: found for found in pod["status"]["conditions"]}
        (gate,) = (found["conditionType"] for found in pod["spec"]["readinessGates"])
        assert conditions[gate]["status"] == "True"
        assert transport["time"] <= conditions["Ready"]["lastTransitionTime"], "ready before it was verified"
        assert conditions["ContainersReady"]["lastTransitionTime"] <= transport["time"], "asked while unready"
    finally:
        deployment.delete()
