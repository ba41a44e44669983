"""The stages of a model: each a run of its layers, computed by one rank, one after the other.

A model on one node is one stage. On several nodes the first rank's stage is here and the others are reached
through what stands for them (`disagg_worker.group`); what is computed is the same, bit for bit.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from disagg_worker.config import EngineConfig
from disagg_worker.engine.sampling import choose_token
from disagg_worker.engine.step import Pass
from disagg_worker.errors import ConfigError
from disagg_worker.kv import BlockPool, KVLayout
from disagg_worker.layers import Place
from disagg_worker.model.devices import open_kernels
from disagg_worker.model.kernels import Kernels
from disagg_worker.model.llama import Llama
from disagg_worker.model.spec import Array, LlamaSpec
from disagg_worker.model.weights import LlamaWeights, placed

MIB = 1 << 20


class Stage(Protocol):
    """A run of layers."""

    def run(self, work: Pass, hidden: Array | None) -> Array:
        """Compute some positions.

        Their K and V are in the pool when this returns.

        Args:
            work: The positions.
            hidden: float32 `[positions, hidden]` from the stage before; None for the first.

        Returns:
            The same for the stage after; of the last stage the chosen tokens, int64 `[picks]`.
        """


class LocalStage:
    """A run of layers computed here, be it on another device.

    Args:
        model: These layers, bound to the pool that holds their KV.
        kernels: With which the model computes.
        is_last: Whether tokens are chosen here.
    """

    def __init__(self, model: Llama, kernels: Kernels, *, is_last: bool) -> None:
        self._model, self._kernels, self._is_last = model, kernels, is_last

    def run(self, work: Pass, hidden: Array | None) -> Array:
        """See Stage."""
        given = None if hidden is None else self._kernels.array(hidden)
        if work.prompt:
            (segment,) = work.segments
            computed = self._model.prefill(segment, given)
        else:
            computed = self._model.decode(work.segments, given)
        result = self._choose(work, computed) if self._is_last else self._kernels.host(computed)
        self._kernels.finish()
        return result

    def _choose(self, work: Pass, hidden: Array) -> Array:
        rows = [pick.row for pick in work.picks]
        if not rows:
            return np.empty(0, dtype=np.int64)
        if len(rows) < hidden.shape[0]:
            hidden = self._kernels.xp.take(hidden, self._kernels.array(rows), axis=0)
        logits = self._kernels.host(self._model.logits(hidden))
        chosen = (
            choose_token(values, pick.params, pick.draw, pick.banned)
            for pick, values in zip(work.picks, logits, strict=True)
        )
        return np.fromiter(chosen, dtype=np.int64)


def run_through(stages: Sequence[Stage], work: Pass) -> list[int]:
    """Compute some positions with all stages of a model; returns the chosen tokens."""
    hidden: Array | None = None
    for stage in stages:
        hidden = stage.run(work, hidden)
    tokens: list[int] = np.asarray(hidden).tolist()
    return tokens


def max_positions(config: EngineConfig, spec: LlamaSpec) -> int:
    """Tokens of the longest sequence, prompt and answer together."""
    return min(config.scheduler.max_sequence_tokens, spec.context)


def local_stage(
    config: EngineConfig, spec: LlamaSpec, weights: LlamaWeights, place: Place, fingerprint: str
) -> tuple[BlockPool, LocalStage]:
    """Make a rank's KV pool, and its stage over it.

    Every rank's pool has as many blocks: as fit where a block is largest.

    Args:
        config: Sizes and limits.
        spec: Dimensions of the whole model.
        weights: What the rank holds of it, as NumPy arrays.
        place: The rank.
        fingerprint: Of the whole model's weights.

    Raises:
        ConfigError: The KV memory holds no block, or the device cannot be used.
    """
    kernels = open_kernels(config.compute.device)
    layout = KVLayout(
        layers=spec.layers,
        kv_heads=spec.kv_heads,
        head_dim=spec.head_dim,
        block_tokens=config.kv_cache.block_tokens,
        dtype="float32",
        model_fingerprint=fingerprint,
    )
    largest = Place(0, place.ranks).layers(spec.layers).count * layout.layer_bytes
    blocks = _blocks(config.kv_cache.memory_mib, largest)
    there = placed(weights, kernels.array)
    pool = BlockPool(layout, blocks, place.layers(spec.layers), kernels.pool)
    model = Llama(spec, there, pool.array, kernels, max_positions(config, spec))
    return pool, LocalStage(model, kernels, is_last=place.is_last)


def _blocks(memory_mib: int, block_bytes: int) -> int:
    blocks = memory_mib * MIB // block_bytes
    if blocks == 0:
        raise ConfigError(
            f"kv_cache.memory_mib: {memory_mib} MiB hold no block "
            f"of {block_bytes} bytes; write at least {-(-block_bytes // MIB)}"
        )
    return blocks
