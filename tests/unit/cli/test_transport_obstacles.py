"""Why a deployment is not verified at all, as ``kubectl disagg verify`` tells it."""

import pytest

from disagg_operator.cli.transport_report import obstacle
from unit.deployments import deployment_of


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"verification": {"mode": "Off"}}, "spec.verification.mode is Off"),
        ({"runtime": {"engine": "mocker"}}, "moves no KV cache"),
        ({"runtime": {"engine": "vllm"}}, ""),
        ({}, ""),
    ],
)
def test_what_keeps_a_deployment_from_being_verified_is_told(spec: dict[str, object], words: str) -> None:
    told = obstacle(deployment_of(spec, namespace="ns"))
    assert words in told
    assert bool(told) == bool(words)
