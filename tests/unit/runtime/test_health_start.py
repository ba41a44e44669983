"""The time that the operator took to be ready."""

import time

from disagg_operator.runtime.health import Health, process_age
from disagg_operator.runtime.metrics import Metrics


def test_a_process_grows_older() -> None:
    before = process_age()
    time.sleep(0.05)
    assert 0 < before < process_age()


def test_the_first_time_of_being_ready_is_kept() -> None:
    metrics = Metrics()
    health = Health(metrics)
    health.become_ready()
    first = metrics.registry.get_sample_value("disagg_start_seconds")
    time.sleep(0.05)
    health.become_ready()
    assert first is not None
    assert metrics.registry.get_sample_value("disagg_start_seconds") == first > 0
    assert health.not_ready is None
