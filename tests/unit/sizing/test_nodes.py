"""How many whole nodes instances take."""

import pytest

from disagg_operator.platforms.catalogue import builtin
from disagg_operator.sizing.nodes import sharing
from unit.sizing.questions import P5


@pytest.mark.parametrize(
    ("platform", "roles", "nodes"),
    [
        ("infiniband", [(4, 1), (4, 1)], 1),
        ("infiniband", [(2, 3), (8, 1)], 2),
        ("infiniband", [(1, 3), (4, 3)], 2),
        ("infiniband", [(3, 3), (2, 1)], 2),
        ("infiniband", [(16, 2), (1, 1)], 5),
        (P5, [(4, 1), (4, 1)], 2),
        (P5, [(4, 3), (4, 2)], 3),
        ("gke-a4", [(2, 3), (4, 1)], 4),
        ("aws-p4d.24xlarge", [(1, 8), (8, 1)], 3),
    ],
)
def test_small_instances_share_nodes_where_gpus_adapters_and_fabric_let_them(
    platform: str, roles: list[tuple[int, int]], nodes: int
) -> None:
    """By hand: a pod on a4 takes all adapters of a node; a p4d has four adapters, and each pod takes one."""
    catalogue = builtin()
    machine = catalogue.machine(platform)
    assert sharing(machine, catalogue.fabrics_of(machine)).nodes(roles, 8) == nodes
