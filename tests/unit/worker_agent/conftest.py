"""A simulated node for the agent's tests. Real processes, NIXL and /proc: tests/integration/worker_agent."""

from pathlib import Path

import pytest

from unit.worker_agent.simulated import Node


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)
