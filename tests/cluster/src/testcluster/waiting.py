"""Waiting for a process to serve, and noticing at once if it died instead."""

from collections.abc import Callable

from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from testcluster.errors import ClusterError
from testcluster.processes import Supervisor


def wait_for(supervisor: Supervisor, name: str, healthy: Callable[[], bool], *, seconds: float) -> None:
    """Wait until a supervised process is healthy.

    Raises:
        ClusterError: If it ended or is not healthy in time; names its log.
    """

    def check() -> bool:
        if not supervisor.alive(name):
            raise ClusterError(f"{name} ended while it was starting", log=supervisor.log(name))
        return healthy()

    retrying = Retrying(
        wait=wait_fixed(0.2), stop=stop_after_delay(seconds), retry=retry_if_result(lambda result: not result)
    )
    try:
        retrying(check)
    except RetryError:
        raise ClusterError(f"{name} was not ready after {seconds:.0f} s", log=supervisor.log(name)) from None
