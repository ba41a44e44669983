"""What rules about pods take for derived is what is built."""

from disagg_operator.build import agent, download, pods, statefulset
from disagg_operator.plan import names
from disagg_operator.plan.rules.pods import CONTAINERS, STARTING


def test_the_rules_know_the_names_of_derived_containers() -> None:
    assert {*CONTAINERS} == {statefulset.CONTAINER, names.FRONTEND}
    assert {*STARTING} == {pods.CHECK, pods.PREPARE, pods.GATE, download.FETCH, agent.AGENT}
