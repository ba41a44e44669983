"""Why a KV read did not happen. Each error knows the value of the `outcome` label it is counted under."""

from typing import ClassVar, Literal

Outcome = Literal["ok", "timeout", "peer_lost", "shape", "error"]


class TransferError(Exception):
    """KV was not read; the text is meant for the person who sent the request."""

    outcome: ClassVar[Outcome] = "error"


class TransferTimeout(TransferError):  # noqa: N818 - reads as what happened
    """The blocks did not arrive before the deadline."""

    outcome = "timeout"


class PeerLost(TransferError):  # noqa: N818 - reads as what happened
    """The prefill worker that holds the blocks is gone, or was restarted since."""

    outcome = "peer_lost"


class ShapeMismatch(TransferError):  # noqa: N818 - reads as what happened
    """The blocks are not what this worker computes with: another model, layout or count."""

    outcome = "shape"
