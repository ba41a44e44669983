"""Bytes of KV cache a token, against published numbers."""

import pytest

from disagg_operator.verify.evidence import Evidence, Model
from disagg_operator.verify.kv import bytes_per_token


@pytest.mark.parametrize(
    ("model", "dtype", "expected"),
    [
        # SmolLM2-135M: 30 layers, 3 KV heads of 64; the reference engine keeps float32.
        (Model(layers=30, kv_heads=3, head_dim=64, dtype="bfloat16"), "", 23_040),
        (Model(layers=30, kv_heads=3, head_dim=64, dtype="bfloat16"), "float32", 46_080),
        # Llama-3.1-70B: 80 layers, 8 KV heads of 128: 320 KiB a token in 16 bits.
        (Model(layers=80, kv_heads=8, head_dim=128, dtype="torch.bfloat16"), "auto", 327_680),
        (Model(layers=80, kv_heads=8, head_dim=128, dtype="bfloat16"), "fp8", 163_840),
        # DeepSeek-R1: 61 layers, 512 + 64 compressed: 68.6 KiB a token in 16 bits.
        (Model(layers=61, kv_heads=128, head_dim=128, kv_lora_rank=512, rope_head_dim=64), "bf16", 70_272),
        (Model(layers=61, kv_lora_rank=512, rope_head_dim=64, dtype="float8_e4m3fn"), "", 35_136),
        (Model(layers=61, kv_lora_rank=512, dtype="fp16"), "", 62_464),
        (Model(layers=2, kv_heads=1, head_dim=2, dtype="nvfp4"), "", 4),
    ],
)
def test_the_formula(model: Model, dtype: str, expected: int) -> None:
    assert bytes_per_token(model, dtype) == expected


@pytest.mark.parametrize(
    "model",
    [
        Model(),
        Model(layers=30, kv_heads=3, head_dim=64),
        Model(layers=30, kv_heads=3, head_dim=64, dtype="int3"),
        Model(layers=0, kv_heads=3, head_dim=64, dtype="fp16"),
        Model(layers=30, kv_heads=-3, head_dim=64, dtype="fp16"),
        Model(layers=30, kv_heads=3, dtype="fp16"),
        Model(kv_lora_rank=512, dtype="fp16"),
    ],
)
def test_an_unknown_geometry_gives_no_number(model: Model) -> None:
    assert bytes_per_token(model) is None


def test_evidence_of_another_version_is_still_read() -> None:
    evidence = Evidence.model_validate(
        {
            "version": 9,
            "news": 1,
            "model": {"layers": 1, "kvHeads": 2, "headDim": 3, "dtype": None, "later": True},
            "processes": [
                {
                    "pid": 1,
                    "libraries": [
                        {"kind": "nixl-plugin", "path": "/opt/p/libplugin_LIBFABRIC.so"},
                        {"kind": "ucx", "path": "/opt/libplugin_UCX.so"},
                    ],
                }
            ],
        }
    )
    assert evidence.model == Model(layers=1, kv_heads=2, head_dim=3)
    assert evidence.plugins == {"LIBFABRIC"}
