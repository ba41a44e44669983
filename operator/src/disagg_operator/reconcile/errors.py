"""What can go wrong in a reconcile, sorted by who has to act.

| error | who acts | what follows |
|---|---|---|
| ``RetrySoonError`` | nobody: the cluster moved on or is busy | another try, soon |
| ``BlockedError`` | the user or an administrator | a condition says what to do; tried again |
| anything else | the developers: it is a bug | condition ``ReconcileError``, a metric, growing intervals |
"""

from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class ClusterError(Exception):
    """The API server did not do what it was asked for.

    Attributes:
        code: HTTP status, or 0 where no answer came.
        reason: the API server's word for it, such as ``Conflict``.
        retry_after: seconds that the API server asked to wait, or None.
    """

    def __init__(self, code: int, reason: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after = retry_after


class NotFoundError(ClusterError):
    """The object, its namespace or its kind is not there."""


class GoneError(ClusterError):
    """The resource version is too old to continue from."""


class TakenError(ClusterError):
    """An object of this name is there already, and it is somebody else's."""


class RetrySoonError(Exception):
    """Another try is needed, without anybody having done wrong.

    Attributes:
        after: seconds to wait, or None for the queue's own growing interval.
        notable: whether the user should read of it, because it may last.
    """

    def __init__(self, message: str, after: float | None = None, *, notable: bool = False) -> None:
        super().__init__(message)
        self.after = after
        self.notable = notable


class BlockedError(Exception):
    """Nothing can go on until somebody changes something outside the operator."""


_HTTP_TIMEOUT = 408
_HTTP_CONFLICT = 409
_HTTP_GONE = 410
_HTTP_TOO_MANY_REQUESTS = 429
_HTTP_SERVER_ERROR = 500
_TRANSIENT = {0, _HTTP_TIMEOUT, _HTTP_CONFLICT, _HTTP_GONE, _HTTP_TOO_MANY_REQUESTS}
_REFUSALS = {400, 401, 403, 404, 422}


def classify(error: Exception, doing: str) -> Exception:
    """Sort an error into the taxonomy above.

    Args:
        error: what was raised.
        doing: what was tried, such as ``apply StatefulSet a``.

    Returns:
        A RetrySoonError, a BlockedError, or the error itself where it is a bug.
    """
    if not isinstance(error, ClusterError):
        return error
    if isinstance(error, TakenError):
        return BlockedError(f"Could not {doing}: {error}")
    if error.code in _TRANSIENT or error.code >= _HTTP_SERVER_ERROR:
        notable = error.code != _HTTP_CONFLICT
        return RetrySoonError(f"Could not {doing}: {error}", error.retry_after, notable=notable)
    if error.code in _REFUSALS:
        return BlockedError(f"The API server refused to {doing}: {error}")
    return error


async def attempt(call: Awaitable[T], doing: str) -> T:
    """Await a call to the cluster, and sort what it raises.

    Args:
        call: the call.
        doing: what it tries, such as ``apply StatefulSet a``.
    """
    try:
        return await call
    except ClusterError as error:
        raise classify(error, doing) from error
