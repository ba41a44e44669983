"""engine.yaml: defaults, and faults told with field, fault and remedy."""

import os
from pathlib import Path

import pytest

from disagg_worker.config import load_config, parse_config
from disagg_worker.engine.compute import available_threads
from disagg_worker.errors import ConfigError

MODEL = {"path": "/models/m", "name": "m"}


def test_a_whole_file(tmp_path: Path) -> None:
    file = tmp_path / "engine.yaml"
    file.write_text(
        "model: {path: /models/smollm2-135m-instruct, name: smollm2-135m-instruct}\n"
        "kv_cache: {block_tokens: 32, memory_mib: 128}\n"
        "scheduler: {max_batch_size: 4, prefill_chunk_tokens: 256, max_sequence_tokens: 2048}\n"
        "transfer: {method: NIXL, backend: UCX, timeout_seconds: 30}\n"
        "compute: {threads: 2, device: cpu}\n"
    )
    config = load_config(file)
    assert config.model.path == Path("/models/smollm2-135m-instruct")
    assert config.kv_cache.block_tokens == 32
    assert config.transfer.timeout_seconds == 30.0


def test_everything_but_the_model_has_a_default() -> None:
    config = parse_config({"model": MODEL})
    assert (config.kv_cache.block_tokens, config.kv_cache.memory_mib) == (16, 256)
    assert config.compute.threads == 0


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "model: is required"),
        (
            {"model": MODEL, "scheduler": {"max_batchsize": 4}},
            "scheduler.max_batchsize: unknown key; write `max_batch_size`",
        ),
        (
            {"model": MODEL, "zzz": 1},
            "zzz: unknown key; the keys here are model, kv_cache, scheduler, transfer, "
            "staging, local_prefill, compute",
        ),
        (
            {"model": MODEL, "kv_cache": {"block_tokens": "16"}},
            "kv_cache.block_tokens: Input should be a valid integer; got '16'",
        ),
        (
            {"model": MODEL, "kv_cache": {"block_tokens": 0}},
            "kv_cache.block_tokens: Input should be greater than or equal to 1; got 0",
        ),
        (
            {"model": MODEL, "staging": {"slots": 1}},
            "staging.slots: Input should be greater than or equal to 2; got 1",
        ),
        (
            {"model": MODEL, "compute": {"device": "cuda:one"}},
            "compute.device: Input should be 'cpu', 'cuda' or 'cuda:N'; got 'cuda:one'",
        ),
        (
            {"model": MODEL, "transfer": {"backend": "TCP"}},
            "transfer.backend: Input should be 'UCX' or 'LIBFABRIC'; got 'TCP'",
        ),
    ],
)
def test_faults_name_the_field(document: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(document)
    assert str(caught.value) == message


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"model": {"path": "x", "nam": "y"}, "compute": {"threads": -1}})
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == [
        "model.name",
        "model.nam",
        "compute.threads",
    ]


def test_a_block_longer_than_any_sequence_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"max_sequence_tokens is below kv_cache\.block_tokens"):
        parse_config(
            {"model": MODEL, "kv_cache": {"block_tokens": 64}, "scheduler": {"max_sequence_tokens": 32}}
        )


def test_files_that_hold_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "missing.yaml")
    for text, message in (("a: [", "is not YAML"), ("- 1", "must hold a mapping")):
        (tmp_path / "engine.yaml").write_text(text)
        with pytest.raises(ConfigError, match=message):
            load_config(tmp_path / "engine.yaml")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "100000000 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_threads_follow_the_quota_of_the_cgroup(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert available_threads(tmp_path) == (expected or len(os.sched_getaffinity(0)))
