"""The ticket: JSON that travels with a request from the prefill worker through the frontend to decode."""

from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import Base64Bytes, BaseModel, ConfigDict, Field, ValidationError

from disagg_worker.kv import KVLayout
from disagg_worker.transfer.errors import ShapeMismatch, TransferError


class Ticket(BaseModel):
    """Leave to read some KV blocks of one prefill worker, once.

    Attributes:
        version: Of this format.
        lease: Name of the offer; sent back as the notification that the blocks were read.
        peer: Which worker holds the blocks (the pod's name); stays the same when it restarts.
        incarnation: Which process of that worker; another after each restart.
        started_at: When that process began (seconds since the epoch): tells older incarnations from newer.
        agent: Name of the NIXL agent, different for each incarnation.
        agent_metadata: How to connect to it and what memory it registered.
        layout: Shape of the blocks and fingerprint of the model.
        base_address: Where the peer's pool begins in its memory.
        blocks: Block numbers in the order of the positions they hold.
        tokens: Positions that are filled.
        first_token: The token that follows the prompt; the decode worker gives it out.
        expires_at: Seconds since the epoch after which the blocks may hold something else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    lease: str
    peer: str
    incarnation: str
    started_at: float
    agent: str
    agent_metadata: Base64Bytes
    layout: dict[str, int | str]
    base_address: int = Field(gt=0)
    blocks: tuple[int, ...] = Field(min_length=1)
    tokens: int = Field(ge=1)
    first_token: int = Field(ge=0)
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
            if theirs != mine:
                raise ShapeMismatch(
                    f"KV of prefill worker {self.peer} cannot be used here: {field} is {theirs} there and "
                    f"{mine} here; give both roles the same model and kv_cache settings"
                )
        if self.tokens != prompt_tokens:
            raise ShapeMismatch(
                f"prefill worker {self.peer} computed {self.tokens} tokens, the prompt has {prompt_tokens}; "
                "give both roles the same model"
            )
        if len(self.blocks) != layout.blocks_for(self.tokens):
            raise ShapeMismatch(
                f"prefill worker {self.peer} offers {len(self.blocks)} blocks for {self.tokens} tokens; "
                f"{layout.blocks_for(self.tokens)} are expected"
            )
