"""The ticket: JSON that travels with a request from the prefill worker through the frontend to decode."""

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from disagg_worker.kv import KVLayout
from disagg_worker.layers import Layers
from disagg_worker.transfer.errors import ShapeMismatch, TransferError


class Part(BaseModel):
    """Where the KV of some layers is: on one rank of a prefill worker, or all of it on the only one.

    Attributes:
        peer: Which pod holds it; its name stays the same when it restarts.
        incarnation: Which process of that pod; another after each restart.
        started_at: When that process began (seconds since the epoch): tells older incarnations from newer.
        agent: Name of the NIXL agent, different for each incarnation.
        agent_metadata: How to connect to it and what memory it registered.
        base_address: Where its pool begins in its memory.
        pool_blocks: Blocks of that pool.
        slot_bytes: Size of its staging slots.
        gpu: The GPU whose memory that is, as its process counts them; None for host memory.
        layers: The layers that it holds.
        ahead: Where the first pieces are that were staged already, by which readers they are for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    peer: str
    incarnation: str
    started_at: float
    agent: str
    agent_metadata: Base64Bytes
    base_address: int = Field(gt=0)
    pool_blocks: int = Field(gt=0)
    slot_bytes: int = Field(gt=0)
    gpu: int | None = Field(None, ge=0)
    layers: Layers
    ahead: dict[str, int] = Field(default_factory=dict)


class Ticket(BaseModel):
    """Leave to read some KV blocks of one prefill worker, once.

    Attributes:
        version: Of this format.
        lease: Name of the offer; sent back with the notifications that the blocks were read.
        layout: Shape of the blocks over all layers, and fingerprint of the model.
        parts: Where they are, by ranks; the first one decides about the offer.
        blocks: Block numbers in the order of the positions they hold.
        tokens: Positions that are filled.
        first_token: The token that follows the prompt; the decode worker gives it out.
        sums: What the blocks hold, one sum for each layer (`disagg_worker.kv.sums`); none if not wanted.
        expires_at: Seconds since the epoch after which the blocks may hold something else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[6] = 6
    lease: str
    layout: dict[str, int | str]
    parts: tuple[Part, ...] = Field(min_length=1)
    blocks: tuple[int, ...] = Field(min_length=1)
    tokens: int = Field(ge=1)
    first_token: int = Field(ge=0)
    sums: tuple[int, ...] = ()
    expires_at: float

    @classmethod
    def parse(cls, document: Any) -> Self:
        """Read a ticket from a request.

        Raises:
            TransferError: It is no ticket of this version.
        """
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            fault = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(str(part) for part in fault["loc"]) or "ticket"
            raise TransferError(
                f"the prefill worker's ticket cannot be read: {field}: {fault['msg']}; "
                "run the same worker image for prefill and decode"
            ) from None

    @property
    def block_tokens(self) -> int:
        """Positions per block there, which need not be as many as here."""
        return int(self.layout.get("block_tokens", 0))

    @property
    def peer(self) -> str:
        """Name of the prefill worker."""
        return self.parts[0].peer

    def to_json(self) -> dict[str, Any]:
        """Give the ticket as JSON values."""
        return self.model_dump(mode="json")

    def require_fit(self, layout: KVLayout, prompt_tokens: int) -> None:
        """Check that the offered blocks are what this worker computes with.

        Args:
            layout: Of this worker's pool.
            prompt_tokens: Tokens of the prompt, as this worker sees it.

        Raises:
            ShapeMismatch: A property differs, or the blocks do not hold the prompt.
        """
        for field, mine in asdict(layout).items():
            theirs = self.layout.get(field)
            sized = field == "block_tokens" and isinstance(theirs, int) and theirs > 0
            if theirs != mine and not sized:
                raise ShapeMismatch(
                    f"KV of prefill worker {self.peer} cannot be used here: {field} is {theirs} there and "
                    f"{mine} here; give both roles the same model and kv_cache settings"
                )
        self._require_all_layers(layout.layers)
        if self.tokens != prompt_tokens:
            raise ShapeMismatch(
                f"prefill worker {self.peer} computed {self.tokens} tokens, the prompt has {prompt_tokens}; "
                "give both roles the same model"
            )
        if self.sums and len(self.sums) != layout.layers:
            raise ShapeMismatch(
                f"prefill worker {self.peer} tells sums of {len(self.sums)} layers; "
                f"the model has {layout.layers}"
            )
        expected = -(-self.tokens // self.block_tokens)
        if len(self.blocks) != expected:
            raise ShapeMismatch(
                f"prefill worker {self.peer} offers {len(self.blocks)} blocks of {self.block_tokens} tokens "
                f"for {self.tokens} tokens; {expected} are expected"
            )

    def _require_all_layers(self, total: int) -> None:
        ends = [0, *(part.layers.end for part in self.parts)]
        begins = [*(part.layers.first for part in self.parts), total]
        if ends != begins or not all(part.layers.count for part in self.parts):
            held = ", ".join(f"{part.layers.first} to {part.layers.end - 1}" for part in self.parts)
            raise ShapeMismatch(
                f"the ranks of prefill worker {self.peer} hold layers {held}; the model has {total}, "
                "and each is to be there once"
            )
