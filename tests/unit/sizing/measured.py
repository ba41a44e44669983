"""What ``aiconfigurator cli estimate`` 0.12.0 says, from kernels measured with TensorRT-LLM 1.3.0rc20.

For each: ``--isl 4000 --osl 500 --estimate-mode static_ctx`` with one prompt, and ``static_gen``.
"""

from typing import NamedTuple

from unit.sizing.questions import DEEPSEEK_R1, LLAMA_70B, P5, P5EN, QWEN_32B, QWEN_235B


class Measured(NamedTuple):
    """One run: a prompt where there is no batch, else a token of each sequence of one."""

    model: str
    platform: str
    gpus: int
    batch: int
    milliseconds: float


RUNS = (
    Measured(QWEN_32B, P5, 1, 0, 393.1),
    Measured(LLAMA_70B, P5, 4, 0, 270.9),
    Measured(DEEPSEEK_R1, P5EN, 8, 0, 161.2),
    Measured(QWEN_235B, P5EN, 8, 0, 120.9),
    Measured(QWEN_32B, P5, 4, 88, 18.47),
    Measured(LLAMA_70B, P5, 4, 32, 21.59),
    Measured(DEEPSEEK_R1, P5EN, 8, 32, 22.72),
    Measured(QWEN_235B, P5EN, 8, 32, 22.38),
)
