"""One soak: a cluster of simulated machines, one operator process, and a script that leaves it no rest.

The operator is restarted in the first half, so that the second shows one process. After each half all
deployments are deleted: what is there then must be what was there before.
"""

import json
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from chart.helm import IMAGES, Helm, settings
from integration.operator.control_plane import ACCEPTED, Api, Object, OperatorProcess, eventually
from soak.churn import NAMESPACES, Action, Churn, made
from soak.leftovers import Named, everything
from soak.sampling import Sample, sample
from soak.verdict import Empty, Trend, faults, trend
from testcluster.paths import REPOSITORY
from testcluster.platforms.cluster import MachineCluster, private_machine_cluster

PROGRAM = (str(Path(__file__).with_name("instrumented_operator.py")),)
LEASE = "disagg-operator"
_DYNAMO = "templates/crds/nvidia.com_dynamoworkermetadatas.yaml"
_CRDS = [f"crd/{plural}.disagg.dev" for plural in ("disaggdeployments", "disaggscalers")]
_CALM_SECONDS = 600.0
"""Longest time until nothing is to be done any more; the cluster's own controllers need most of it."""
_START_SECONDS = 300.0
"""Longest time until a killed operator's successor leads, and until a deleted deployment is gone."""
_ANSWER_SECONDS = 120.0
"""Longest time to one answer of an API server that does more than its machine can."""
_KILLS = ((0.15, signal.SIGTERM), (0.3, signal.SIGKILL))
"""When the operator is ended, as a share of the whole churn, and how."""
_NODE_LOSSES = 24
"""Machines that are lost in the whole soak."""


@dataclass(frozen=True)
class Plan:
    """How large a soak is.

    Attributes:
        minutes: length of the churn; beginning, pauses and end come on top of it.
        seed: decides what happens.
        deployments: deployments that are there at the same time.
        machines: simulated machines.
        rate: actions a second.
        every: seconds between two samples.
        growth: the share by which memory may grow in the second half.
    """

    minutes: float = 20.0
    seed: int = 1
    deployments: int = 80
    machines: int = 24
    rate: float = 2.0
    every: float = 5.0
    growth: float = 0.05


@dataclass
class Result:
    """What a soak showed.

    Attributes:
        plan: how large it was.
        samples: all samples, in order of time.
        done: actions by kind.
        base: the first process before it had anything to do.
        halves: the process after each half, with no deployment left.
        stretch: seconds between which the second half ran.
        through: how memory went in the second half.
        calmed: seconds until the queue was empty after each half's churn.
        left: objects that were left over.
        lost: how often the operator lost its Lease, as on a machine that is too busy, and was started again.
        faults: what must not be, in sentences.
    """

    plan: Plan
    samples: list[Sample] = field(default_factory=list)
    done: dict[str, int] = field(default_factory=dict)
    base: Sample | None = None
    halves: list[Empty] = field(default_factory=list)
    stretch: tuple[float, float] = (0.0, 0.0)
    through: Trend | None = None
    calmed: list[float] = field(default_factory=list)
    left: list[Named] = field(default_factory=list)
    lost: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass
class Soak:
    """A soak under way.

    Attributes:
        plan: how large it is.
        cluster: where it runs.
        api: the cluster's administrator.
        operator: the operator process.
        counts: the file to which it writes its objects by type.
        tell: is told what happens, for people.
    """

    plan: Plan
    cluster: MachineCluster
    api: Api
    operator: OperatorProcess
    counts: Path
    tell: Callable[[str], None]

    def __post_init__(self) -> None:
        self.result = Result(self.plan)
        self._churn = Churn(self.plan.seed, self.plan.deployments)
        self._random = random.Random(self.plan.seed)  # noqa: S311 - reproducible, no secret
        self._began = time.monotonic()
        self._sampled = 0.0
        self._process = 0
        self._lost: dict[str, int] = {}
        self._length = self.plan.minutes * 60

    def run(self) -> Result:
        """Do it all and judge it."""
        before = everything(self.api)
        self.operator.start()
        self.operator.wait_until_leading()
        # Until kopf and the reflectors have their connections.
        time.sleep(5)
        self.result.base = self._sample()
        self._half(0.0, 0.5, [(share * self._length, how) for share, how in _KILLS])
        self._half(0.5, 1.0, [])
        self.result.left = sorted(everything(self.api) - before)
        self.result.done = dict(self._churn.done.most_common())
        first, second = self.result.halves
        start, end = self.result.stretch
        within = [each for each in self.result.samples if start <= each.seconds <= end]
        within = [each for each in within if each.process == second.sample.process]
        self.result.through = trend(within)
        if first.sample.process == second.sample.process:
            self.result.faults += faults(first, second, self.result.through, growth=self.plan.growth)
        else:
            self.result.faults.append("the second half had several processes, which tells nothing of leaks")
        self.result.faults += [f"left over: {' '.join(each)}" for each in self.result.left]
        bugs = sum(each.reconciles.get("error", 0) for each in _last_of_each(self.result.samples))
        if bugs:
            self.result.faults.append(f"{bugs} reconciles ended by a bug: see the operator's log")
        return self.result

    def _half(self, start: float, end: float, kills: list[tuple[float, signal.Signals]]) -> None:
        self._start_churning(start, end, kills)
        for name in list(self._lost):
            self._bring_back(name)
        for action in self._churn.mend():
            self._do(action)
        began = time.monotonic()
        self._wait(lambda now: not now.waiting and not now.failing, "the queue is empty, and nothing fails")
        self.result.calmed.append(round(time.monotonic() - began, 1))
        self._check_deployments()
        for each in self._churn.there:
            self.api.delete("disaggdeployments", each.namespace, each.name)
        self._churn.there.clear()
        self._wait(
            lambda now: not now.cached and not now.waiting and not now.delayed,
            "nothing is left in the caches",
        )
        # kopf gives its watchers of single objects up after some seconds, and connections their sockets.
        time.sleep(min(30.0, 5 + self._length / 60))
        self.result.halves.append(Empty(self._sample(), self._counted()))
        self.tell(f"all deployments are gone: {self.result.samples[-1].anonymous:.1f} MB")

    def _start_churning(self, start: float, end: float, kills: list[tuple[float, signal.Signals]]) -> None:
        steps = max(1, round((end - start) * self._length * self.plan.rate))
        loss = max(1, round(steps / (_NODE_LOSSES * (end - start))))
        opened = time.monotonic()
        # By number, not by time: a slow machine does the same.
        by_step = {round(at * self.plan.rate): how for at, how in kills}
        for step in range(steps):
            self._revive()
            if step in by_step:
                self._restart(by_step[step])
            # Most machines stand at any time, so that work goes on.
            if step % loss == loss // 2 and 3 * len(self._lost) < self.plan.machines:
                self._lose_a_machine(until=step + round(15 * self.plan.rate))
            for name in [name for name, due in self._lost.items() if due <= step]:
                self._bring_back(name)
            self._do(self._churn.next())
            pause = opened + (step + 1) / self.plan.rate - time.monotonic()
            time.sleep(max(0.0, pause))
            if time.monotonic() - self._sampled > self.plan.every:
                self._sample()
        now = time.monotonic() - self._began
        self.result.stretch = (now - (time.monotonic() - opened), now)

    def _do(self, action: Action) -> None:
        on = action.on
        path = self.api.path("disaggdeployments", on.namespace)
        if action.kind == "create":
            # One of the same name may still be going.
            eventually(
                lambda: self.api.http.post(path, json=made(action)).status_code in ACCEPTED,
                f"{on.namespace}/{on.name} can be made",
                _START_SECONDS,
            )
        elif action.patch is None:
            self.api.delete("disaggdeployments", on.namespace, on.name)
        else:
            target = self.api.path("disaggdeployments", on.namespace, on.name)
            if action.scaler:
                target = self.api.path("disaggscalers", on.namespace, f"{on.name}-{action.scaler}")
            answer = self._patch(target, action.patch)
            if action.refused:
                assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, answer.text
            elif not (action.scaler and answer.status_code == httpx.codes.NOT_FOUND):
                # Its scaler may not have been made yet.
                assert answer.status_code in ACCEPTED, answer.text

    def _patch(self, path: str, patch: Object) -> httpx.Response:
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.api.http.patch(path, content=json.dumps(patch), headers=headers)

    def _lose_a_machine(self, until: int) -> None:
        """Take a machine away, with its pods or so that the cluster has to find out, or only cut it off."""
        standing = sorted(set(self.cluster.node_names()) - self._lost.keys())
        name = self._random.choice(standing)
        how = self._random.choice(("power", "vanish", "cut"))
        self._churn.done[f"machine lost: {how}"] += 1
        if how == "power":
            self.cluster.remove_nodes([name])
        elif how == "vanish":
            self.cluster.kubectl.text("delete", "node", name)
        else:
            self._set_ready(name, "False")
        self._lost[name] = until

    def _bring_back(self, name: str) -> None:
        del self._lost[name]
        if name in self.cluster.node_names():
            self._set_ready(name, "True")
            return
        prefix, _, _ = name.rpartition("-")
        self.cluster.add_nodes(1, prefix=prefix, allocatable=_GPUS, channel=False)

    def _set_ready(self, name: str, ready: str) -> None:
        condition = {"type": "Ready", "status": ready, "reason": "Soak", "message": "set by the soak"}
        patch = {"status": {"conditions": [condition]}}
        self.cluster.kubectl.text(
            "patch", "node", name, "--subresource=status", "--type=strategic", f"--patch={json.dumps(patch)}"
        )

    def _revive(self) -> None:
        """Start the operator again if it lost its Lease, as a kubelet would."""
        process = self.operator.process
        assert process
        if process.poll() is None:
            return
        last = self.operator.log.read_text().splitlines()[-1]
        assert "does not hold the Lease" in last, last
        self.result.lost += 1
        self.tell("the operator lost its Lease")
        self._start_again()

    def _restart(self, how: signal.Signals) -> None:
        self.operator.stop(how)
        self.tell(f"the operator was ended by {how.name}")
        self._start_again()

    def _start_again(self) -> None:
        """Start the operator, which may lose its Lease before it is ready, too."""
        self._process += 1
        self.operator.start()
        eventually(self._leads, "the operator leads and is ready", _START_SECONDS, meanwhile=self._revive)

    def _leads(self) -> bool:
        process = self.operator.process
        assert process
        if process.poll() is not None:
            return False
        return "disagg_leader 1.0" in self.operator.says("/metrics") and bool(self.operator.says("/readyz"))

    def _sample(self) -> Sample:
        text = eventually(self._metrics, "the operator shows its metrics")
        process = self.operator.process
        assert process
        found = sample(
            process.pid,
            text,
            seconds=time.monotonic() - self._began,
            process=self._process,
            deployments=len(self._churn.there),
        )
        self.result.samples.append(found)
        self._sampled = time.monotonic()
        return found

    def _metrics(self) -> str:
        self._revive()
        return self.operator.says("/metrics")

    def _wait(self, calm: Callable[[Sample], bool], what: str) -> None:
        """Wait until a sample is calm three times running: one moment may be between two reconciles."""
        end, row = time.monotonic() + _CALM_SECONDS, 0
        while row < 3:
            row = row + 1 if calm(self._sample()) else 0
            if time.monotonic() > end:
                self.result.faults.append(f"not within {_CALM_SECONDS:.0f} s: {what}")
                return
            time.sleep(1)

    def _check_deployments(self) -> None:
        """Have every deployment accepted in its last form, once there is peace."""

        def unheard() -> list[str]:
            found = []
            for namespace in NAMESPACES:
                for each in self.api.find("disaggdeployments", namespace):
                    status = each.get("status", {})
                    accepted = {c["type"]: c["status"] for c in status.get("conditions", [])}.get("Accepted")
                    current = status.get("observedGeneration") == each["metadata"]["generation"]
                    if not current or accepted != "True":
                        found.append(f"{namespace}/{each['metadata']['name']}")
            return found

        end = time.monotonic() + _CALM_SECONDS
        while (left := unheard()) and time.monotonic() < end:
            time.sleep(1)
        self.result.faults += [f"{name} is not accepted in its last form" for name in left]

    def _counted(self) -> dict[str, int]:
        self.counts.unlink(missing_ok=True)
        assert self.operator.process
        os.kill(self.operator.process.pid, signal.SIGUSR1)
        eventually(self.counts.exists, "the operator has counted its objects")
        found: dict[str, int] = json.loads(self.counts.read_text())
        return found


_GPUS = {"nvidia.com/gpu": "8"}


@contextmanager
def prepared(plan: Plan, directory: Path, tell: Callable[[str], None]) -> Iterator[Soak]:
    """Make the cluster of a soak, for a while.

    Args:
        plan: how large the soak is.
        directory: an empty folder for data and logs; the operator's log stays in it.
        tell: is told what happens, for people.
    """
    tell("a control plane, a scheduler and simulated machines start")
    with private_machine_cluster(directory / "cluster") as cluster:
        cluster.kubectl.text("apply", "--server-side", "-f", str(REPOSITORY / "crds"))
        helm = Helm(Path(cluster.apiserver.tools.path("helm")))
        cluster.kubectl.apply(helm.render(*settings(**IMAGES), "--show-only", _DYNAMO))
        cluster.kubectl.await_served(*_CRDS)
        for number in range(plan.machines):
            # One by one, so that each can be made again under its name.
            cluster.add_nodes(1, prefix=f"machine-{number}", allocatable=_GPUS, channel=False)
        api = Api(cluster.apiserver.kubeconfig)
        api.http.timeout = httpx.Timeout(_ANSWER_SECONDS)
        for namespace in NAMESPACES:
            api.http.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
        for namespace in NAMESPACES:
            for resource in ("serviceaccounts", "configmaps"):
                eventually(
                    lambda resource=resource, namespace=namespace: api.find(resource, namespace),  # type: ignore[misc]
                    "the namespace has what every namespace has",
                )
        environment = {"SOAK_COUNTS": str(directory / "counts.json")}
        operator = OperatorProcess(
            cluster.apiserver.kubeconfig, directory / "operator.log", environment, PROGRAM
        )
        try:
            yield Soak(plan, cluster, api, operator, directory / "counts.json", tell)
        finally:
            api.close()
            if operator.process and operator.process.poll() is None:
                operator.stop(signal.SIGKILL)


def _last_of_each(samples: list[Sample]) -> list[Sample]:
    return list({each.process: each for each in samples}.values())
