"""Waiting for what takes a while, and noticing at once if the process that should bring it died instead."""

from collections.abc import Callable
from typing import TypeVar

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from testcluster.errors import ClusterError
from testcluster.processes import Supervisor

T = TypeVar("T")


def until(check: Callable[[], T], missing: str, *, seconds: float) -> T:
    """Return what the check returns once that is true.

    Args:
        check: Called until it returns something true.
        missing: The sentence of the error, without how long it was waited for.
        seconds: For how long to call it.

    Raises:
        ClusterError: If it is not true in time.
    """
    retrying = Retrying(
        wait=wait_fixed(0.2), stop=stop_after_delay(seconds), retry=retry_if_result(lambda result: not result)
    )
    try:
        return retrying(check)
    except RetryError:
        raise ClusterError(f"{missing} after {seconds:.0f} s") from None


def wait_for(supervisor: Supervisor, name: str, healthy: Callable[[], bool], *, seconds: float) -> None:
    """Wait until a supervised process is healthy.

    Raises:
        ClusterError: If it ended or is not healthy in time; names its log.
    """

    def check() -> bool:
        if not supervisor.alive(name):
            raise ClusterError(f"{name} ended while it was starting", log=supervisor.log(name))
        return healthy()

    try:
        until(check, f"{name} was not ready", seconds=seconds)
    except ClusterError as error:
        raise ClusterError(error.message, log=supervisor.log(name)) from None
