"""TensorRT-LLM's schema: what each version accepts, what it refuses, and that its data is sound."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from packaging.version import Version

from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.trtllm import schema
from disagg_operator.platforms.trtllm.schema import Argument, Fields, Unfit, Unknown, argument, faults, meant

VERSIONS = sorted(
    {
        engine.version
        for family in builtin().runtimes.values()
        for profile in family.values()
        for name, engine in profile.engines.items()
        if name == "trtllm"
    },
    key=Version,
)
NEWEST = VERSIONS[-1]
MTP = {"decoding_type": "MTP"}


def section(name: str, **fields: Any) -> dict[str, Any]:
    return {name: fields}


def test_a_configuration_like_those_of_nvidia_s_recipes_is_accepted_by_every_version() -> None:
    config = {
        "backend": "pytorch",
        "tensor_parallel_size": 8,
        "moe_expert_parallel_size": 8,
        "enable_attention_dp": True,
        "max_batch_size": 256,
        "max_num_tokens": 256,
        "trust_remote_code": True,
        "kv_cache_config": {"free_gpu_memory_fraction": 0.7, "enable_block_reuse": False, "dtype": "fp8"},
        "cuda_graph_config": {"enable_padding": True, "batch_sizes": [1, 2, 4, 8]},
        "moe_config": {"backend": "WIDEEP", "load_balancer": "/mnt/eplb.yaml"},
        "speculative_config": {**MTP, "num_nextn_predict_layers": 1},
        "scheduler_config": {"capacity_scheduler_policy": "MAX_UTILIZATION"},
        "print_iter_log": True,
    }
    for version in VERSIONS:
        assert list(faults(config, version)) == [], version


@pytest.mark.parametrize(
    ("version", "key", "known"),
    [
        ("1.0.0rc6", "kv_cache_config.tokens_per_block", False),
        ("1.1.0rc5", "kv_cache_config.tokens_per_block", True),
        ("1.0.0rc6", "attention_dp_config", False),
        ("1.0.0rc6", "connector_config", True),
        ("1.2.0rc3", "connector_config", False),
        ("1.0.0rc6", "enable_trtllm_sampler", True),
        (NEWEST, "enable_trtllm_sampler", False),
        ("1.3.0rc19", "cache_transceiver_config.enable_pipelined_transfer", False),
        (NEWEST, "cache_transceiver_config.enable_pipelined_transfer", True),
        ("1.2.0rc3", "speculative_config.mask_token_id", True),
        ("1.1.0rc5", "speculative_config.mask_token_id", False),
        (NEWEST, "speculative_config.decoding_type", True),
        (NEWEST, "tensor_parallel_size.size", False),
    ],
)
def test_keys_come_and_go_with_versions(version: str, key: str, known: bool) -> None:
    assert (argument(version, key) is not None) == known


REFUSED: list[tuple[str, dict[str, Any], Unknown | Unfit]] = [
    (NEWEST, {"max_batch_sise": 1}, Unknown("max_batch_sise")),
    (NEWEST, section("kv_cache_config", typo=1), Unknown("kv_cache_config.typo")),
    (NEWEST, {"kv_cache_config": None}, Unfit("kv_cache_config", None, "a map")),
    (NEWEST, {"moe_config": "WIDEEP"}, Unfit("moe_config", "WIDEEP", "a map")),
    (NEWEST, {"max_batch_size": "many"}, Unfit("max_batch_size", "many", "a whole number")),
    (NEWEST, {"max_batch_size": 1.5}, Unfit("max_batch_size", 1.5, "a whole number")),
    (NEWEST, {"stream_interval": 0}, Unfit("stream_interval", 0, "a whole number of at least 1")),
    (NEWEST, {"disable_overlap_scheduler": 2}, Unfit("disable_overlap_scheduler", 2, "true or false")),
    (NEWEST, {"disable_overlap_scheduler": None}, Unfit("disable_overlap_scheduler", None, "true or false")),
    (NEWEST, {"revision": 12}, Unfit("revision", 12, "a text")),
    (NEWEST, {"pp_partition": 4}, Unfit("pp_partition", 4, "a list of whole numbers")),
    (
        NEWEST,
        section("kv_cache_config", free_gpu_memory_fraction=85),
        Unfit("kv_cache_config.free_gpu_memory_fraction", 85, "a number from 0 to 1"),
    ),
    (
        "1.1.0rc5",
        section("moe_config", backend="AUTO"),
        Unfit(
            "moe_config.backend", "AUTO", "one of CUTLASS, CUTEDSL, WIDEEP, TRTLLM, DEEPGEMM, VANILLA, TRITON"
        ),
    ),
    (NEWEST, {"speculative_config": {**MTP, "draft": 1}}, Unknown("speculative_config.draft")),
    (NEWEST, {"speculative_config": {**MTP, "is_keep_all": 1}}, Unknown("speculative_config.is_keep_all")),
    (
        "1.0.0rc6",
        {"speculative_config": {"decoding_type": "PARD"}},
        Unfit("speculative_config.decoding_type", "PARD", "one of AUTO, MTP, Eagle, NGram, DraftTarget"),
    ),
    (
        "1.0.0rc6",
        {"speculative_config": {"max_draft_len": 3}},
        Unfit("speculative_config.decoding_type", None, "one of AUTO, MTP, Eagle, NGram, DraftTarget"),
    ),
]


@pytest.mark.parametrize(("version", "config", "fault"), REFUSED)
def test_what_tensorrt_llm_would_refuse_is_found(
    version: str, config: dict[str, Any], fault: Unknown | Unfit
) -> None:
    assert list(faults(config, version)) == [fault]


@pytest.mark.parametrize(
    "config",
    [
        {"max_batch_size": "8", "max_num_tokens": 8.0, "tensor_parallel_size": True},
        {"disable_overlap_scheduler": "on", "print_iter_log": 1, "enable_chunked_prefill": "False"},
        {"kv_cache_config": {"free_gpu_memory_fraction": "0.8", "max_tokens": None}},
        {"max_batch_size": None, "cuda_graph_config": None, "speculative_config": None},
        {"load_format": "DUMMY", "cp_config": {"cp_type": "helix"}},
        {"sparse_attention_config": {"algorithm": "of a release to come"}, "quant_config": {"any": "thing"}},
    ],
)
def test_values_are_taken_as_pydantic_takes_them(config: dict[str, Any]) -> None:
    assert list(faults(config, NEWEST)) == []


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("max_batch_sise", ["max_batch_size"]),
        ("kv_cache_config.free_gpu_mem_fraction", ["kv_cache_config.free_gpu_memory_fraction"]),
        ("free_gpu_memory_fraction", ["kv_cache_config.free_gpu_memory_fraction"]),
        ("tokens_per_block", ["cp_config.tokens_per_block", "kv_cache_config.tokens_per_block"]),
        ("nothing_like_it", []),
    ],
)
def test_an_unknown_key_is_compared_with_those_near_and_elsewhere(key: str, near: list[str]) -> None:
    assert list(meant(NEWEST, key)) == near


def entries(fields: Fields) -> Iterator[tuple[str, tuple[Argument, ...]]]:
    for name, held in fields.items():
        yield name, held
        for entry in held:
            yield from entries(entry.fields)
            for case in entry.cases.values():
                yield from entries(case.fields)


ALL = list(entries(schema._arguments()))


@pytest.mark.parametrize("held", [held for _, held in ALL], ids=[name for name, _ in ALL])
def test_the_data_says_nothing_twice_and_nothing_in_vain(held: tuple[Argument, ...]) -> None:
    spans = [
        (Version(each.since) if each.since else Version("0"), Version(each.until) if each.until else None)
        for each in held
    ]
    for (_, end), (begin, _) in pairwise(spans):
        assert end is not None
        assert end <= begin, "two entries hold for one version"
    for entry, (begin, end) in zip(held, spans, strict=True):
        assert end is None or begin < end
        assert bool(entry.fields) == (entry.kind in ("section", "tagged"))
        assert bool(entry.cases) == bool(entry.tag) == (entry.kind == "tagged")
        assert entry.kind == "text" or not (entry.choices or entry.any_case)
        assert entry.kind in ("whole", "number") or entry.minimum is entry.maximum is None
        assert entry.maximum is None or entry.minimum is not None
