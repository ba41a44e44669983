"""The dimensions and constants of a Llama-architecture model."""

from dataclasses import dataclass
from typing import Any

# Any array of the Python array API standard (NumPy, CuPy, PyTorch through array-api-compat, ...). The
# standard defines no type for it that a checker could use.
Array = Any


@dataclass(frozen=True)
class LlamaSpec:
    """What a Llama is besides its weights.

    Attributes:
        vocab: Token ids.
        layers: Transformer layers.
        hidden: Width of the residual stream.
        intermediate: Width inside the MLP.
        heads: Query heads.
        kv_heads: Key/value heads; each serves `heads / kv_heads` query heads.
        head_dim: Floats per head.
        rope_theta: Base of the rotary frequencies.
        rms_eps: Added to the mean square before its root.
        context: Positions the model was trained for.
        eos_token_ids: Tokens that end a text.
    """

    vocab: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    head_dim: int
    rope_theta: float
    rms_eps: float
    context: int
    eos_token_ids: frozenset[int] = frozenset()

    @property
    def query_width(self) -> int:
        """Floats of all query heads of one position."""
        return self.heads * self.head_dim

    @property
    def kv_width(self) -> int:
        """Floats of all key (or value) heads of one position."""
        return self.kv_heads * self.head_dim
