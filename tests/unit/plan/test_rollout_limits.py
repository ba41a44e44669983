"""How far a rollout may go at once: as a Deployment reads it, with defaults that never stall."""

import pytest

from disagg_operator.api.problems import Refusal
from disagg_operator.plan.model import Limits
from unit.deployments import planned


@pytest.mark.parametrize(
    ("written", "replicas", "expected"),
    [
        pytest.param({}, 1, Limits(1, 0), id="default: one more"),
        pytest.param({}, 8, Limits(2, 0), id="default: a quarter more"),
        pytest.param({"maxSurge": 0}, 8, Limits(0, 1), id="a full cluster: one less"),
        pytest.param({"maxSurge": "0%"}, 1, Limits(0, 1), id="a full cluster with one instance"),
        pytest.param({"maxSurge": "50%"}, 3, Limits(2, 0), id="a surge is rounded up"),
        pytest.param({"maxUnavailable": "50%"}, 3, Limits(1, 1), id="what is unavailable is rounded down"),
        pytest.param({"maxSurge": 0, "maxUnavailable": "10%"}, 3, Limits(0, 1), id="both zero by rounding"),
        pytest.param({"maxSurge": 3, "maxUnavailable": 9}, 2, Limits(3, 2), id="no less than none"),
        pytest.param({"maxSurge": "100%"}, 4, Limits(4, 0), id="all at once"),
        pytest.param({}, 0, Limits(0, 1), id="no replicas"),
    ],
)
def test_limits(written: dict[str, object], replicas: int, expected: Limits) -> None:
    decode = {"parallelism": {"tensor": 2}, "replicas": replicas}
    assert planned(decode=decode, rollout={"decode": written}).rollout.limits["decode"] == expected


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ({"prefill": {"maxSurge": -1}}, "spec.rollout.prefill.maxSurge"),
        ({"prefill": {"maxSurge": "a lot"}}, "Write a number such as 1, or 25%"),
        ({"decode": {"maxUnavailable": True}}, "spec.rollout.decode.maxUnavailable"),
        ({"decode": {"maxSurge": 0, "maxUnavailable": 0}}, "nothing can ever change"),
        (
            {"strategy": "Recreate", "decode": {"maxSurge": 1}},
            "spec.rollout.decode: has no effect with Recreate",
        ),
        ({"progressDeadlineSeconds": 5}, "spec.rollout.progressDeadlineSeconds"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(written: dict[str, object], words: str) -> None:
    with pytest.raises(Refusal) as refused:
        planned(rollout=written)
    assert words in str(refused.value)
