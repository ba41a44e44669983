"""Kubernetes quantities as numbers."""

from decimal import Decimal

import pytest

from disagg_operator.api.quantities import quantity


@pytest.mark.parametrize(
    ("written", "number"),
    [
        (2, "2"),
        ("2", "2"),
        ("500m", "0.5"),
        ("1.5Gi", "1610612736"),
        ("1e3", "1000"),
        ("2E", "2e18"),
        ("1Ki", "1024"),
        ("-1", "-1"),
        ("+.5", "0.5"),
        ("1.", "1"),
    ],
)
def test_a_quantity_is_a_number(written: int | str, number: str) -> None:
    assert quantity(written) == Decimal(number)


@pytest.mark.parametrize(
    "written",
    [
        *(None, True, "", "Gi", "1Qi", "many", ["1"], {"cpu": "1"}),
        *("1 Gi", " 1Gi", "1Gi ", "1Gi\n", "1_000", "1e3Gi", "NaN", "Infinity", float("nan"), "--1", "+-1"),
        *("1e99999999", "1e99999999999999999999"),
    ],
)
def test_what_is_no_quantity_is_no_number(written: object) -> None:
    assert quantity(written) is None
