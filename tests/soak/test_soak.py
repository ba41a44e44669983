"""A sample of the soak, with its checks for what is left over. A minute shows no slope: memory has room."""

from pathlib import Path

import pytest

from soak.report import picture, summary
from soak.soak import Plan, prepared

pytestmark = pytest.mark.apiserver

SAMPLE = Plan(minutes=0.4, seed=7, deployments=8, machines=6, rate=2.0, every=1.0, growth=0.3)


@pytest.mark.timeout(900)
def test_churn_leaves_no_object_no_task_no_socket_and_no_work(tmp_path: Path) -> None:
    with prepared(SAMPLE, tmp_path, print) as soak:
        result = soak.run()
    print(summary(result))
    assert not result.faults
    assert len(result.done) > 8, "many sorts of things were done"
    assert result.halves[1].sample.reconciles["done"] > 50, "the operator had work to do"
    assert "deployments in the queue" in picture(result)
