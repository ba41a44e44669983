"""What rules about pods take for derived is what is built."""

import yaml

from disagg_operator.api.parse import accept
from disagg_operator.build import agent, download, pods, statefulset
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan, PodPlan
from disagg_operator.plan.planner import plan
from disagg_operator.plan.rules.pods import WORKER, starting
from testcluster.paths import REPOSITORY


def plans() -> list[Plan]:
    """Plan the deployments of all examples."""
    files = sorted((REPOSITORY / "examples").glob("*/*.yaml"))
    documents = [each for file in files for each in yaml.safe_load_all(file.read_text(encoding="utf-8"))]
    deployments = [each for each in documents if each["kind"] == "DisaggDeployment"]
    return [plan(accept(each), Installation("worker:test")) for each in deployments]


def built(pod: PodPlan) -> set[str]:
    """Return the names of the init containers that a pod is made with."""
    made = pods.pod_template(pod, WORKER, {})["spec"].get("initContainers", [])
    return {each["name"] for each in made}


def test_the_rules_know_the_containers_that_a_pod_has() -> None:
    seen = set()
    for each in plans():
        for pod in (*(role.pod for role in each.roles.values()), each.frontend.pod):
            assert starting(pod) == built(pod)
            seen |= starting(pod)
    assert seen == {pods.CHECK, pods.PREPARE, pods.GATE, download.FETCH, agent.AGENT}
    assert statefulset.CONTAINER == WORKER
