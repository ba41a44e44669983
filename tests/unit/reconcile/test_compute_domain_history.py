"""Whatever users, the driver and crashes do: no domain goes before its pods, and none is left behind."""

from contextlib import suppress

import pytest
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import templates_of
from unit.reconcile.fake_cluster import Crash, FakeDriver, now
from unit.reconcile.test_compute_domain import DOMAIN, TEMPLATE, UID_LABEL, foreign, leave, rack
from unit.reconcile.test_reconciler import converge, drive


class AnyRack(RuleBasedStateMachine):
    """One deployment on a rack, from its creation to its end."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = rack(FakeDriver(domains={"mine": foreign("mine", "my-claims")}))
        self.cluster.before_write = self.judge

    def judge(self, verb: str, obj: Object) -> None:
        """Fail where a write breaks the order: domain, workers; workers, domain."""
        if verb == "delete" and obj["kind"] == "ComputeDomain":
            users = [
                name
                for (kind, name), pod in self.cluster.objects.items()
                if kind == "Pod" and TEMPLATE in templates_of(pod["spec"])
            ]
            assert not users, "a domain goes after its last worker"
        if verb == "apply" and obj["kind"] == "StatefulSet":
            live = self.cluster.objects.get(("StatefulSet", obj["metadata"]["name"]))
            if live is None or obj["spec"]["replicas"] > live["spec"]["replicas"]:
                for template in templates_of(obj["spec"]["template"]["spec"]):
                    self.judge_template(template)

    def judge_template(self, name: str) -> None:
        """Fail where the claim template of workers that start is not that of their domain."""
        template = self.cluster.driver.templates.get(name)
        assert template, "workers come after the template"
        domain = self.cluster.find("ns", DOMAIN if name == TEMPLATE else "mine")
        assert domain, "workers come after the domain"
        assert "deletionTimestamp" not in domain["metadata"], "a domain that goes is none"
        assert template["metadata"]["labels"][UID_LABEL] == domain["metadata"]["uid"], "its own template"

    @initialize(running=st.booleans())
    def begin(self, running: bool) -> None:
        """Half of the histories begin where everything runs: they get further."""
        if running:
            converge(self.cluster)

    @rule(decode=st.integers(0, 3))
    def scale(self, decode: int) -> None:
        self.cluster.edit(decode={"replicas": decode})

    @rule(nodes=st.integers(1, 2))
    def choose_nodes(self, nodes: int) -> None:
        self.cluster.edit(decode={"nodesPerReplica": nodes, "parallelism": {"tensor": 4 * nodes}})

    @rule(asked=st.sampled_from([{}, {"enabled": False}, {"name": "mine"}]))
    def choose_domain(self, asked: Object) -> None:
        assert self.cluster.resource
        self.cluster.resource["spec"]["computeDomain"] = dict(asked)
        self.cluster.resource["metadata"]["generation"] += 1

    @rule(strategy=st.sampled_from(["Surge", "Recreate"]))
    def choose_strategy(self, strategy: str) -> None:
        self.cluster.edit(rollout={"strategy": strategy})

    @rule(running=st.booleans())
    def stop_or_start_driver(self, running: bool) -> None:
        self.cluster.driver.running = running

    @rule(lingering=st.booleans())
    def let_pods_linger(self, lingering: bool) -> None:
        self.cluster.lingering = lingering

    @precondition(lambda self: ("ComputeDomain", DOMAIN) in self.cluster.objects)
    @rule()
    def delete_domain_as_a_user(self) -> None:
        self.cluster.objects["ComputeDomain", DOMAIN]["metadata"]["deletionTimestamp"] = now()

    @rule()
    def ask_for_the_template_as_another(self) -> None:
        self.cluster.driver.domains["rival"] = foreign("rival", TEMPLATE)

    @rule()
    def give_the_template_back(self) -> None:
        driver = self.cluster.driver
        driver.domains.pop("rival", None)
        owner = driver.templates.get(TEMPLATE, {"metadata": {"labels": {}}})["metadata"]["labels"]
        if owner.get(UID_LABEL) == "uid-of-rival":
            del driver.templates[TEMPLATE]

    @rule(writes=st.integers(0, 12))
    def crash(self, writes: int) -> None:
        with suppress(Crash), self.cluster.dying(writes):
            drive(self.cluster)

    @rule()
    def settle(self) -> None:
        self.cluster.settle()

    @rule()
    def reconcile(self) -> None:
        drive(self.cluster)

    @rule()
    def come_to_rest(self) -> None:
        self.give_the_template_back()
        self.cluster.lingering, self.cluster.driver.running = False, True
        converge(self.cluster, rounds=16)
        assert self.cluster.condition("Progressing")["reason"] == "Complete"
        assert self.cluster.resource
        owns = not self.cluster.resource["spec"].get("computeDomain")
        assert self.cluster.names("ComputeDomain") == ({DOMAIN} if owns else set())
        assert bool(self.cluster.resource["metadata"].get("finalizers")) is owns

    def teardown(self) -> None:
        self.cluster.lingering, self.cluster.driver.running = False, True
        self.cluster.remove()
        if self.cluster.resource is not None:
            leave(self.cluster, 16)
        assert self.cluster.resource is None
        assert self.cluster.names("ComputeDomain") == set()
        assert "mine" in self.cluster.driver.domains


# Phase.explain traces every line: it would take minutes.
AnyRack.TestCase.settings = hypothesis_settings(
    max_examples=40,
    stateful_step_count=20,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
)
TestAnyRack = pytest.mark.usefixtures("quiet")(AnyRack.TestCase)
