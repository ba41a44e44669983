"""How long prompts and tokens take, and how GPU memory is split: the roofline. Pure.

A step takes as long as its products at the GPU's rate or as its bytes at the memory's rate, whichever is
longer, and all-reduces on top where several GPUs share layers. A chunk of a prompt beside tokens adds its own
products: kernels do not overlap its work with the reading of cache, as measured ones show. Scheduling and
imbalance between experts are no part of it but by the two efficiencies.
"""

from dataclasses import dataclass
from functools import cached_property

from disagg_operator.sizing import kv
from disagg_operator.sizing.assumptions import NODES, Assumptions
from disagg_operator.sizing.model import ModelShape

_ACTIVATION_BYTES = 2.0
_ALL_REDUCES = 2
"""A layer, one after attention and one after the feed-forward layer."""


@dataclass(frozen=True)
class Memory:
    """How the memory of one GPU is split, in bytes.

    Attributes:
        total: all of it.
        weights: weights.
        reserved: CUDA, NCCL, graphs, activations.
        buffer: transfer buffer.
        cache: KV cache.
    """

    total: float
    weights: float
    reserved: float
    buffer: float
    cache: float

    @property
    def free(self) -> float:
        """What nobody has."""
        return self.total - self.weights - self.reserved - self.buffer - self.cache


@dataclass(frozen=True)
class Roofline:
    """A model on a GPU.

    Attributes:
        shape: the model.
        token_bytes: of KV cache.
        assumed: what is taken for given.
        nvlink: whether the GPUs' link also joins nodes.
    """

    shape: ModelShape
    token_bytes: float
    assumed: Assumptions
    nvlink: bool

    def prompt_flops(self, tokens: float) -> float:
        """Return the work of a prompt: every parameter for every token, and half of all pairs of tokens."""
        shape = self.shape
        pairs = shape.layers * shape.heads * (shape.key_dim + shape.value_dim) * tokens**2
        return 2.0 * shape.active * tokens + pairs + 2.0 * shape.head

    def token_flops(self, context: float) -> float:
        """Return the work of one more token after some others."""
        shape, geometry = self.shape, self.shape.geometry
        latent = geometry.kv_lora_rank or 0
        seen = 2 * latent + (geometry.rope_head_dim or 0) if latent else shape.key_dim + shape.value_dim
        return 2.0 * (shape.active + shape.head) + 2.0 * shape.layers * shape.heads * seen * context

    def prefill_seconds(self, tokens: int, gpus: int) -> float:
        """Return how long an instance computes one prompt."""
        return self._step(self.prompt_flops(tokens), self.shape.read_bytes(tokens), tokens, gpus)

    def decode_seconds(self, batch: float, context: float, gpus: int) -> float:
        """Return how long an instance takes for one more token of each of some sequences."""
        return self.mixed_seconds(batch, context, 0.0, 0.0, gpus)

    def mixed_seconds(self, batch: float, context: float, chunk: float, flops: float, gpus: int) -> float:
        """Return how long a step takes that also computes a part of a prompt.

        Args:
            batch: sequences that get a token.
            context: tokens of each, on average.
            chunk: tokens of the prompt's part.
            flops: work of that part.
            gpus: of the instance.
        """
        cache = batch * context * self.token_bytes * kv.copies(self.shape, gpus)
        read = self.shape.read_bytes(batch + chunk) + cache
        tokens = self._step(batch * self.token_flops(context), read, batch + chunk, gpus)
        return tokens + flops / (gpus * self._rate)

    def memory(self, gpus: int, buffer_tokens: int) -> Memory | None:
        """Return how the memory of each GPU of an instance is split, or None where the model has no room."""
        total, reserved = self.assumed["gpu_memory"], self.assumed["reserved_memory"]
        weights = self.shape.weight_bytes / gpus + self._again(gpus)
        shared = 1 if self.shape.latent else gpus / kv.copies(self.shape, gpus)
        buffer = buffer_tokens * self.token_bytes / shared
        left = total - weights - reserved - buffer
        cache = left * self.assumed["kv_memory_fraction"]
        return Memory(total, weights, reserved, buffer, cache) if left > 0 else None

    def cached_tokens(self, memory: Memory, gpus: int) -> float:
        """Return how many tokens the KV cache of an instance holds."""
        return memory.cache * gpus / (self.token_bytes * kv.copies(self.shape, gpus))

    def _step(self, flops: float, read: float, tokens: float, gpus: int) -> float:
        own = read / gpus + self._again(gpus)
        return max(flops / (gpus * self._rate), own / self._bandwidth) + self._all_reduces(tokens, gpus)

    @cached_property
    def _rate(self) -> float:
        return self.assumed["gpu_flops"] * self.assumed["prefill_efficiency"]

    @cached_property
    def _bandwidth(self) -> float:
        return self.assumed["gpu_bandwidth"] * self.assumed["decode_efficiency"]

    @cached_property
    def _links(self) -> tuple[float, float, float]:
        """Rate within a node, rate between nodes, and latency."""
        within = self.assumed["gpu_link"]
        return within, within if self.nvlink else self.assumed[NODES], self.assumed["link_latency"]

    def _again(self, gpus: int) -> float:
        """Bytes of weights that each GPU has besides its share: all attention, where that is not split."""
        return self.shape.attention_bytes * (1 - 1 / gpus) if self.shape.latent else 0.0

    def _all_reduces(self, tokens: float, gpus: int) -> float:
        if gpus == 1:
            return 0.0
        within, between, latency = self._links
        link = within if gpus <= self.assumed["gpus_per_node"] else between
        each = 2 * (gpus - 1) / gpus * tokens * self.shape.hidden * _ACTIVATION_BYTES / link
        return self.shape.layers * _ALL_REDUCES * (latency + each)
