"""Routing: what the frontend is told, who tells it of KV blocks, and which prompts are left to decode."""

import json
from typing import Any

import pytest
import yaml
from dynamo.common.configuration.groups.kv_router_args import _parse_conditional_disagg_config

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import DECODE, PREFILL, Plan
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of

REFERENCE = {"engine": "reference", "version": "1.6.1"}
IN_IMAGE = {"runtimeImage": {"path": "/models/m"}}
KV = {"routerMode": "kv"}
HIT = {"prefixHit": {"maxNewTokens": 100, "minPercent": 30}}
CONFIG = "DYN_ROUTER_CONDITIONAL_DISAGG_CONFIG"
PUBLISH = {
    "0.7.1": "--publish-events-and-metrics",
    "0.9.1": "--publish-events-and-metrics",
    "1.0.1": "--publish-events-and-metrics",
    "1.1.1": "--publish-events-and-metrics",
    "1.2.1": "--publish-events-and-metrics",
    "1.3.1": "--publish-kv-events",
    "1.4.2": "--publish-kv-events",
    "1.5.1": "--publish-kv-events",
    "1.6.1": "--publish-kv-events",
}
"""By release: dynamo/trtllm/backend_args.py, and before 1.0 dynamo/trtllm/utils/trtllm_utils.py."""


def planned(runtime: dict[str, Any] | None = None, **spec: Any) -> Plan:
    model = {"model": {"name": "m", "source": IN_IMAGE}} if runtime is REFERENCE else {}
    resource = deployment_of({**model, "runtime": runtime or {"version": "1.6.1", "image": "own:1"}, **spec})
    return plan(accept(resource), Installation("worker:test"))


def refused(runtime: dict[str, Any] | None = None, **spec: Any) -> dict[str, str]:
    """Return what is refused, as the rule of each field."""
    with pytest.raises(Refusal) as caught:
        planned(runtime, **spec)
    return {problem.field: problem.rule for problem in caught.value.problems}


def engine_yaml(result: Plan, role: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(result.roles[role].files["engine.yaml"])
    return loaded


def told(result: Plan) -> dict[str, str | None]:
    return {each.name: each.value for each in result.frontend.pod.environment if "ROUTER" in each.name}


@pytest.mark.parametrize(("version", "word"), PUBLISH.items())
def test_prefill_tells_of_its_blocks_in_the_words_of_the_release(version: str, word: str) -> None:
    result = planned({"version": version, "image": "own:1"}, frontend=KV)
    command = result.roles[PREFILL].pod.command
    assert command[-3:] == (word, "--kv-block-size", "32")
    assert word not in result.roles[DECODE].pod.command
    assert result.frontend.pod.command[result.frontend.pod.command.index("--router-mode") + 1] == "kv"
    assert "enable_block_reuse" not in engine_yaml(result, PREFILL).get("kv_cache_config", {})
    assert engine_yaml(result, DECODE)["kv_cache_config"]["enable_block_reuse"] is False


@pytest.mark.parametrize("mode", ["round-robin", "random"])
def test_nobody_tells_of_blocks_that_nobody_asks_for(mode: str) -> None:
    result = planned(frontend={"routerMode": mode})
    for role in result.roles.values():
        assert not set(role.pod.command) & set(PUBLISH.values())
    assert engine_yaml(result, PREFILL)["kv_cache_config"]["enable_block_reuse"] is False
    assert told(result) == {}


def test_router_and_engine_count_blocks_alike() -> None:
    size = {"engineConfig": {"kv_cache_config": {"tokens_per_block": 64}}}
    result = planned(frontend=KV, prefill=size, decode=size)
    assert result.roles[PREFILL].pod.command[-2:] == ("--kv-block-size", "64")


def test_frontends_tell_each_other_what_they_gave_to_whom() -> None:
    assert told(planned(frontend=KV)) == {"DYN_ROUTER_REPLICA_SYNC": "true"}


def test_settings_of_dynamos_router_are_variables_of_the_frontend() -> None:
    env = [{"name": "DYN_ROUTER_TEMPERATURE", "value": "0.5"}, {"name": "DYN_MIGRATION_LIMIT", "value": "9"}]
    result = planned(frontend={**KV, "env": env})
    assert told(result)["DYN_ROUTER_TEMPERATURE"] == "0.5"
    assert {"DYN_MIGRATION_LIMIT": "9"}.items() <= {
        each.name: each.value for each in result.frontend.pod.environment
    }.items()


@pytest.mark.parametrize(
    ("local", "config"),
    [
        ({"prefixHit": {"maxNewTokens": 100}}, ("isl_bounding", 101, 1.0, None)),
        (HIT, ("isl_bounding", 101, 0.7, None)),
        ({"prefillLoadPercent": 250}, ("prefill_load", None, None, 2.5)),
        ({**HIT, "prefillLoadPercent": 50}, ("isl_or_load", 101, 0.7, 0.5)),
    ],
)
def test_what_is_left_to_decode_in_dynamos_words(local: dict[str, Any], config: tuple[Any, ...]) -> None:
    keys = ("policy", "eff_isl_threshold", "eff_isl_ratio_threshold", "prefill_busy_threshold")
    result = planned(frontend=KV, localPrefill=local)
    variables = told(result)
    assert variables["DYN_ROUTER_CONDITIONAL_DISAGG"] == "true"
    assert json.loads(variables[CONFIG] or "") == {
        key: value for key, value in zip(keys, config, strict=True) if value is not None
    }
    # The router then looks into decode's cache, of which decode has to tell.
    assert "--publish-kv-events" in result.roles[DECODE].pod.command


def test_dynamos_frontend_takes_the_settings() -> None:
    """Its own parser says so, and that every field was understood."""
    result = planned(frontend=KV, localPrefill={**HIT, "prefillLoadPercent": 50})
    assert len(_parse_conditional_disagg_config(told(result)[CONFIG] or "")) == 4


def test_the_reference_engine_shares_blocks_for_the_router() -> None:
    result = planned(REFERENCE, frontend=KV, localPrefill={"maxPromptTokens": 40})
    assert engine_yaml(result, PREFILL)["kv_cache"]["enable_block_reuse"] is True
    assert engine_yaml(result, PREFILL)["local_prefill"] == {"max_prompt_tokens": 40}
    assert "enable_block_reuse" not in engine_yaml(result, DECODE)["kv_cache"]
    assert "local_prefill" not in engine_yaml(result, DECODE)
    both = planned(REFERENCE, frontend=KV, localPrefill=HIT)
    assert engine_yaml(both, DECODE)["kv_cache"]["enable_block_reuse"] is True


def test_short_prompts_are_left_to_decode_without_any_router() -> None:
    result = planned(REFERENCE, localPrefill={"maxPromptTokens": 40})
    assert told(result) == {}
    assert "enable_block_reuse" not in engine_yaml(result, PREFILL)["kv_cache"]


@pytest.mark.parametrize(
    ("short", "asked", "canary", "least"),
    [
        (None, None, None, 1),
        (40, None, None, 41),
        (40, 100, 100, 41),
        (600, None, 664, 601),
        (512, None, 576, 513),
    ],
)
def test_the_canary_is_longer_than_what_is_left_to_decode(
    short: int | None, asked: int | None, canary: int | None, least: int
) -> None:
    local = {} if short is None else {"localPrefill": {"maxPromptTokens": short}}
    result = planned(REFERENCE, **local, verification={} if asked is None else {"promptTokens": asked})
    assert result.verification is not None
    assert (result.verification.prompt_tokens, result.verification.least_tokens) == (canary, least)


def test_what_cannot_be_done_is_refused_with_its_reason() -> None:
    old = {"version": "0.6.1", "image": "own:1"}
    field = "spec.localPrefill"
    assert refused(old, frontend=KV) == {"spec.frontend.routerMode": "kv-events-in-release"}
    assert refused({"version": "1.4.2"}, frontend=KV, localPrefill=HIT) == {
        f"{field}.prefixHit.maxNewTokens": "local-prefill-in-release",
        f"{field}.prefixHit.minPercent": "local-prefill-in-release",
    }
    assert refused(localPrefill=HIT) == {f"{field}.prefixHit": "local-prefill-needs-kv"}
    assert refused(localPrefill={"maxPromptTokens": 9}) == {
        f"{field}.maxPromptTokens": "local-prefill-of-short-prompts"
    }
    off = {"engineConfig": {"kv_cache_config": {"enable_block_reuse": False}}}
    assert refused(frontend=KV, prefill=off, decode=off) == {
        "spec.prefill.engineConfig.kv_cache_config.enable_block_reuse": "kv-routing-needs-reuse"
    }
    assert refused(REFERENCE, localPrefill={"maxPromptTokens": 100}, verification={"promptTokens": 100}) == {
        "spec.verification.promptTokens": "canary-moves-kv"
    }


def test_newer_releases_are_named_where_one_lacks_it() -> None:
    with pytest.raises(Refusal, match=r"Write runtime\.version 1\.6\.1 or 1\.5\.1"):
        planned({"version": "1.3.1"}, frontend=KV, localPrefill=HIT)


def test_the_price_of_shared_blocks_is_told() -> None:
    assert "kv-routing-shares-blocks" in {each.rule for each in planned(frontend=KV).warnings}
    assert "kv-routing-shares-blocks" not in {each.rule for each in planned(REFERENCE, frontend=KV).warnings}


def test_trtllm_serve_is_told_how_much_decode_computes_itself() -> None:
    serve = {"frontend": "trtllm-serve", "version": "1.3.0rc29"}
    model = {"name": "org/m", "source": {"huggingFace": {"repository": "org/m"}}}
    result = planned(serve, model=model, frontend=KV, localPrefill={"prefixHit": {"maxNewTokens": 100}})
    file = yaml.safe_load(result.frontend.files["orchestrator.yaml"])
    assert file["conditional_disagg_config"] == {"max_local_prefill_length": 100}
    assert refused(serve, model=model, frontend=KV, localPrefill={**HIT, "prefillLoadPercent": 50}) == {
        "spec.localPrefill.prefixHit.minPercent": "local-prefill-in-release",
        "spec.localPrefill.prefillLoadPercent": "local-prefill-in-release",
    }


@pytest.mark.parametrize(("engine", "port"), [("vllm", 20080), ("sglang", 5557)], ids=["vllm", "sglang"])
def test_vllm_and_sglang_tell_of_their_blocks_in_their_own_words(engine: str, port: int) -> None:
    runtime = {"engine": engine, "version": "1.6.1"}
    command = planned(runtime, frontend=KV).roles[PREFILL].pod.command
    config = json.loads(command[command.index("--kv-events-config") + 1])
    assert (config["publisher"], config["endpoint"]) == ("zmq", f"tcp://*:{port}")
    assert config.get("enable_kv_cache_events", engine == "sglang")
    assert "--kv-events-config" not in planned(runtime, frontend=KV).roles[DECODE].pod.command
    assert "--kv-events-config" not in planned(runtime).roles[PREFILL].pod.command


def test_decode_workers_of_vllm_take_what_is_left_to_them_and_those_of_sglang_do_not() -> None:
    assert planned({"engine": "vllm", "version": "1.6.1"}, frontend=KV, localPrefill=HIT)
    assert refused({"engine": "sglang", "version": "1.6.1"}, frontend=KV, localPrefill=HIT) == {
        "spec.localPrefill.prefixHit.maxNewTokens": "local-prefill-in-release",
        "spec.localPrefill.prefixHit.minPercent": "local-prefill-in-release",
    }
