"""vLLM as the notes on NIXL have it (seed 004): its connector, side channel, fabric and plugin."""

import json
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import RolePlan
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of

NOTES = {
    "prefill": '{"kv_connector":"NixlConnector","kv_role":"kv_producer","kv_load_failure_policy":"fail"}',
    "decode": '{"kv_connector":"NixlConnector","kv_role":"kv_consumer","kv_load_failure_policy":"fail"}',
}


def roles(**spec: Any) -> dict[str, RolePlan]:
    resource = deployment_of({"runtime": {"engine": "vllm"}, **spec})
    return dict(plan(accept(resource), Installation("worker:test")).roles)


def connector(role: RolePlan) -> Any:
    command = list(role.pod.command)
    return json.loads(command[command.index("--kv-transfer-config") + 1])


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_the_connector_of_a_role_is_that_of_the_notes(role: str) -> None:
    assert connector(roles()[role]) == json.loads(NOTES[role])


def test_the_side_channel_has_the_notes_port_on_an_address_that_other_machines_reach() -> None:
    for role in roles().values():
        found = {each.name: each for each in role.pod.environment}
        assert found["VLLM_NIXL_SIDE_CHANNEL_PORT"].value == "5600"
        assert found["VLLM_NIXL_SIDE_CHANNEL_HOST"].value_from == {"fieldRef": {"fieldPath": "status.podIP"}}


def test_the_transport_is_tuned_by_the_variables_of_ucx() -> None:
    adapters = {"name": "UCX_NET_DEVICES", "value": "mlx5_0:1,mlx5_1:1"}
    prefill = roles(platform="infiniband", env=[adapters])["prefill"]
    found = {each.name: each.value for each in prefill.pod.environment}
    assert found["UCX_NET_DEVICES"] == "mlx5_0:1,mlx5_1:1"
    assert "rc" in str(found["UCX_TLS"])


def test_another_fabric_is_chosen_by_the_plugins_of_the_connector() -> None:
    found = roles(platform="aws-p5.48xlarge", transfer={"nixlBackend": "LIBFABRIC"})
    for role in found.values():
        assert connector(role)["kv_connector_extra_config"] == {"backends": ["LIBFABRIC"]}
