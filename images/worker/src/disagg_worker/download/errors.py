"""Why a model cannot be fetched, in the words of the operator's condition ModelReady."""

from enum import StrEnum


class Reason(StrEnum):
    """What ended a download. The operator's ``reconcile.download`` reads the same words."""

    FETCHED = "Fetched"
    MODEL_GATED = "ModelGated"
    MODEL_NOT_FOUND = "ModelNotFound"
    REVISION_NOT_FOUND = "RevisionNotFound"
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105 - a word, not a token
    NO_FILES = "NoFiles"
    NO_SPACE = "NoSpace"
    NOT_WRITABLE = "NotWritable"
    HUB_UNREACHABLE = "HubUnreachable"
    DOWNLOAD_FAILED = "DownloadFailed"


class DownloadError(Exception):
    """The model cannot be fetched now.

    Attributes:
        reason: Stable word.
        says: What is wrong and what to do next, as sentences.
    """

    def __init__(self, reason: Reason, says: str) -> None:
        super().__init__(says)
        self.reason = reason
        self.says = says
