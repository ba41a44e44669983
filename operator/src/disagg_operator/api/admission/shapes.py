"""Findings about parts of a pod that are written as Kubernetes has them."""

from collections.abc import Iterator
from typing import Any

from disagg_operator.api.admission.rule import Finding
from disagg_operator.api.kubernetes.shapes import faults


def findings(shape: str, value: Any, field: str) -> Iterator[Finding]:
    """Find what Kubernetes would refuse of a part of a pod.

    Args:
        shape: its shape, such as Toleration.
        value: the part.
        field: its path.
    """
    for each in faults(shape, value, field):
        yield Finding(each.field, each.fault, each.remedy)
