"""The pages of 2025 (seed 000: NIXL experimental, seed 003: NIXL beta) and the notes on NIXL (seed 004)."""

from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of

STORES = {"etcd": {"endpoints": ["http://etcd:2379"]}, "nats": {"server": "nats://nats:4222"}}
EXPERIMENTAL, BETA = ("0.4.1", "0.6.1"), ("0.7.1",)


def planned(version: str, architecture: str, **spec: Any) -> Plan:
    resource = deployment_of(
        {
            "runtime": {"version": version, "image": "own:1"},
            "discovery": STORES,
            "placement": {"nodeSelector": {"kubernetes.io/arch": architecture}},
            **spec,
        }
    )
    return plan(accept(resource), Installation(worker_image="worker:test"))


def variables(result: Plan, role: str = "decode") -> dict[str, str | None]:
    return {each.name: each.value for each in result.roles[role].pod.environment}


def backend(result: Plan, role: str = "decode") -> str:
    config = yaml.safe_load(result.roles[role].files["engine.yaml"])
    return str(config["cache_transceiver_config"]["backend"]).upper()


@pytest.mark.parametrize("version", [*EXPERIMENTAL, *BETA])
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_seeds_000_and_003_ucx_is_the_default(version: str, architecture: str) -> None:
    result = planned(version, architecture)
    assert str(result.transfer) == backend(result) == "UCX"


@pytest.mark.parametrize("version", EXPERIMENTAL)
def test_seed_000_nixl_is_experimental_and_not_for_production(version: str) -> None:
    (warning,) = (
        each
        for each in planned(version, "amd64", transfer={"method": "NIXL"}).warnings
        if each.field == "spec.transfer.method"
    )
    assert "experimental and not suitable for production" in warning.fault


@pytest.mark.parametrize("version", BETA)
def test_seed_003_nixl_is_beta_with_sharp_edges(version: str) -> None:
    (warning,) = planned(version, "amd64", transfer={"method": "NIXL"}).warnings
    assert "beta and may have some sharp edges" in warning.fault


@pytest.mark.parametrize("version", [*EXPERIMENTAL, *BETA])
def test_seeds_000_and_003_nixl_is_for_amd64_and_arm64_has_to_use_ucx(version: str) -> None:
    assert str(planned(version, "amd64", transfer={"method": "NIXL"}).transfer) == "NIXL/UCX"
    with pytest.raises(Refusal, match=r"spec\.transfer\.method: NIXL needs architecture amd64 .* Write UCX"):
        planned(version, "arm64", transfer={"method": "NIXL"})


@pytest.mark.parametrize(
    ("version", "command"),
    [
        ("0.4.1", "make image-trtllm ERA=2025-experimental TRANSFER=NIXL"),
        ("0.6.1", "make image-trtllm ERA=2025-experimental TRANSFER=NIXL"),
        ("0.7.1", "make image-trtllm ERA=2025-beta TRANSFER=NIXL"),
    ],
)
def test_seeds_000_and_003_the_container_is_built_with_nixl(version: str, command: str) -> None:
    with pytest.raises(Refusal) as refusal:
        planned(version, "amd64", transfer={"method": "NIXL"}, runtime={"version": version})
    assert "spec.runtime.image: no image" in str(refusal.value)
    assert f"Build one with `{command}`" in str(refusal.value)


@pytest.mark.parametrize("version", [*EXPERIMENTAL, *BETA])
def test_seeds_000_and_003_etcd_and_nats_have_to_run(version: str) -> None:
    for pod in (planned(version, "amd64").roles["decode"].pod, planned(version, "amd64").frontend.pod):
        environment = {each.name: each.value for each in pod.environment}
        assert environment["ETCD_ENDPOINTS"] == "http://etcd:2379"
        assert environment["NATS_SERVER"] == "nats://nats:4222"


@pytest.mark.parametrize("version", [*EXPERIMENTAL, *BETA])
def test_seed_004_a_nixl_container_sets_its_switch_and_ucx_unsets_it(version: str) -> None:
    nixl = variables(planned(version, "amd64", transfer={"method": "NIXL"}))
    assert (nixl["TRTLLM_USE_NIXL_KVCACHE"], nixl["TRTLLM_USE_UCX_KVCACHE"]) == ("1", "0")
    ucx = variables(planned(version, "amd64", transfer={"method": "UCX"}))
    assert (ucx["TRTLLM_USE_NIXL_KVCACHE"], ucx["TRTLLM_USE_UCX_KVCACHE"]) == ("0", "1")


@pytest.mark.parametrize("method", ["UCX", "NIXL", "MPI"])
def test_seed_004_backend_values_are_written_out(method: str) -> None:
    assert backend(planned("1.6.1", "amd64", transfer={"method": method}, discovery={})) == method


@pytest.mark.parametrize("plugin", ["UCX", "LIBFABRIC"])
def test_seed_004_the_transport_below_nixl_is_chosen_by_a_variable(plugin: str) -> None:
    where = {"platform": "aws-p5.48xlarge", "placement": {}, "discovery": {}, "runtime": {"version": "1.6.1"}}
    result = planned("1.6.1", "amd64", transfer={"nixlBackend": plugin}, **where)
    for role in ("prefill", "decode"):
        assert variables(result, role)["TRTLLM_NIXL_KVCACHE_BACKEND"] == plugin
        assert backend(result, role) == "NIXL"


def test_seed_004_the_buffer_holds_the_longest_prompt() -> None:
    result = planned(
        "1.6.1",
        "amd64",
        discovery={},
        transfer={"maxTokensInBuffer": 4096},
        prefill={"engineConfig": {"max_seq_len": 8192}},
    )
    assert [each.rule for each in result.warnings] == ["buffer-holds-prompt"]
