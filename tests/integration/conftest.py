"""The order of the files, which several workers take from the front."""

import pytest

LONGEST = (
    "test_compute_domain.py",
    "test_chart_on_apiserver.py",
    "test_equality.py",
    # Its worker has the model of the file before.
    "test_serving.py",
    "test_launch.py",
)
"""Files that take minutes. They begin first, so that none of them is left for the end of a run."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; within a file and among the others the order stays."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))
