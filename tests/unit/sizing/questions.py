"""Questions of size that tests ask, of models whose shape is known."""

from collections.abc import Sequence

from disagg_operator.platforms.catalogue import builtin
from disagg_operator.sizing.answer import Question
from disagg_operator.sizing.assumptions import assumed, models
from disagg_operator.sizing.fleet import Load
from disagg_operator.sizing.kv import KvType
from disagg_operator.sizing.model import ModelShape, Weights, shape_of
from disagg_operator.sizing.nodes import sharing

LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"
LLAMA_405B = "meta-llama/Llama-3.1-405B-Instruct"
QWEN_32B = "Qwen/Qwen3-32B"
QWEN_235B = "Qwen/Qwen3-235B-A22B"
GPT_OSS_120B = "openai/gpt-oss-120b"
DEEPSEEK_R1 = "deepseek-ai/DeepSeek-R1"
P5, P5EN, B200, NVL72 = "aws-p5.48xlarge", "aws-p5en.48xlarge", "aws-p6-b200.48xlarge", "gb200-nvl72"


def known(name: str, weights: Weights | None = None) -> ModelShape:
    """Return the shape of a model that is known."""
    return shape_of(name, models()[name]["config"], weights=weights)


def question(
    name: str = QWEN_32B,
    platform: str = P5,
    *,
    isl: int = 4000,
    osl: int = 500,
    rate: float = 10,
    ttft: float = 1.0,
    itl: float = 0.02,
    kv_type: KvType = KvType.AUTO,
    weights: Weights | None = None,
    backend: str = "UCX",
    max_isl: int = 0,
    given: Sequence[str] = (),
) -> Question:
    """Return a question."""
    catalogue = builtin()
    machine = catalogue.machine(platform)
    fabrics = catalogue.fabrics_of(machine)
    shape = known(name, weights)
    return Question(
        shape=shape,
        platform=platform,
        fabric=fabrics[0].name,
        backend=backend,
        load=Load(isl, osl, rate, ttft, itl, max_isl),
        kv_type=kv_type,
        assumed=assumed(machine, fabrics[0], backend, shape).replaced(given),
        nvlink=any(fabric.domain is not None for fabric in fabrics),
        sharing=sharing(machine, fabrics),
    )
