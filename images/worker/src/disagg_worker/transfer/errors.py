"""Why a KV read did not happen. Each error knows the value of the `outcome` label it is counted under."""

from typing import ClassVar, Literal

Outcome = Literal["ok", "timeout", "peer_lost", "peer_silent", "shape", "no_room", "damaged", "error"]


class TransferError(Exception):
    """KV was not read; the text is meant for the person who sent the request."""

    outcome: ClassVar[Outcome] = "error"


class TransferTimeout(TransferError):  # noqa: N818 - reads as what happened
    """The blocks did not arrive before the deadline."""

    outcome = "timeout"


class PeerLost(TransferError):  # noqa: N818 - reads as what happened
    """The prefill worker that holds the blocks is gone, or was restarted since."""

    outcome = "peer_lost"


class PeerSilent(TransferError):  # noqa: N818 - reads as what happened
    """A READ from this prefill worker is overdue: nothing more is asked of it until that one is over."""

    outcome = "peer_silent"


class NoRoom(TransferError):  # noqa: N818 - reads as what happened
    """No blocks became free here to read into."""

    outcome = "no_room"


class ShapeMismatch(TransferError):  # noqa: N818 - reads as what happened
    """The blocks are not what this worker computes with: another model, layout or count."""

    outcome = "shape"


class Damaged(TransferError):  # noqa: N818 - reads as what happened
    """What was read is not what the prefill worker offered."""

    outcome = "damaged"
