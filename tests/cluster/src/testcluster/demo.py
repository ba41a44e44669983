"""The demo: from nothing to an answered chat request, and what moved between the pods for it."""

import sys
import time
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from testcluster.chat import forwarded, stream_chat, wait_until_listed
from testcluster.commands import logged, output
from testcluster.console import duration
from testcluster.errors import ClusterError
from testcluster.evidence import Moved, moved_between, read_bytes, sentence
from testcluster.kubectl import Kubectl
from testcluster.paths import REPOSITORY
from testcluster.providers.base import Image
from testcluster.session import Session

RELEASE = "disagg-operator"
SYSTEM_NAMESPACE = "disagg-system"
OUR_CRDS = "app.kubernetes.io/part-of=disagg-operator"
NAMESPACE = "disagg-demo"
CHART = REPOSITORY / "charts/disagg-operator"
EXAMPLE = REPOSITORY / "examples/01-quickstart"
DEPLOYMENT = "smollm2"
MODEL = "smollm2-135m-instruct"
PROMPT = "What is the capital of France? Answer in one sentence."
READY_SECONDS = 300.0
# A new operator looks at what an earlier run left within this time; before, the old verdict still stands.
SETTLED_SECONDS = 3.0
MEASURED_SECONDS = 90.0
METRICS_PORT = 9091


def chart_values(images: Mapping[str, str]) -> list[str]:
    """Helm's arguments that name the images."""
    repository, _, tag = images["operator"].rpartition(":")
    return [
        f"--set-string=image.repository={repository}",
        f"--set-string=image.tag={tag}",
        f"--set-string=worker.image={images['worker']}",
    ]


def summary(deployment: Mapping[str, Any], pods: list[Mapping[str, Any]]) -> dict[str, str]:
    """What a person watches while a deployment starts: its conditions and its pods, by name."""
    shown: dict[str, str] = {}
    said: set[str] = set()
    for condition in deployment.get("status", {}).get("conditions", ()):
        message = condition.get("message", "")
        # Two conditions may give the same reason; it is read once.
        more = f": {message}" if message and message not in said else ""
        said.add(message)
        shown[f"condition {condition['type']}"] = f"{condition['status']} ({condition['reason']}){more}"
    shown |= {f"pod {pod['metadata']['name']}": pod_state(pod) for pod in pods}
    return shown


def pod_state(pod: Mapping[str, Any]) -> str:
    """One word for a pod: Ready, or why it is not, or its phase."""
    status = pod.get("status", {})
    containers = status.get("containerStatuses", [])
    if containers and all(container["ready"] for container in containers):
        return "Ready"
    states = [container.get("state", {}) for container in containers]
    waiting = [state["waiting"]["reason"] for state in states if "waiting" in state]
    return ", ".join(waiting) or str(status.get("phase", "Pending"))


def is_ready(deployment: Mapping[str, Any]) -> bool:
    """Whether a deployment is Available, and that is said of its present spec."""
    status = deployment.get("status", {})
    generation = deployment["metadata"].get("generation", 0)
    return any(
        condition["type"] == "Available"
        and condition["status"] == "True"
        and condition.get("observedGeneration", status.get("observedGeneration", generation)) == generation
        for condition in status.get("conditions", ())
    )


def transport_sentence(transport: Mapping[str, Any]) -> str:
    """What was measured of a deployment's transport, in one line."""
    verified = "verified" if transport["verified"] == "True" else "NOT as promised"
    return f"KV cache moves by {transport.get('observed', '?')}, {verified}: {transport.get('message', '')}"


class Demo:
    """One run of the demo.

    Args:
        session: The cluster to run it on.
        out: Where the answer goes.
    """

    def __init__(self, session: Session, out: Console) -> None:
        self.session = session
        self.out = out
        self.progress = session.progress
        self.log = session.paths.build_logs / "demo.log"

    @property
    def kubectl(self) -> Kubectl:
        """Kubectl for the cluster, there once the cluster is up."""
        return self.session.kubectl

    def run(self) -> None:
        """Run all steps.

        Raises:
            ClusterError: From the step that failed, with the log to look at.
        """
        started = time.monotonic()
        images = self.session.up()
        try:
            self._install(images)
            self._deploy()
            self._ask()
        except ClusterError as error:
            self._write_diagnostics()
            raise ClusterError(error.message, remedy=error.remedy, log=error.log or self.log) from error
        self._next(time.monotonic() - started)

    def _install(self, images: list[Image]) -> None:
        references = {image.name: image.reference for image in images}
        argv = [self.session.programs.helm, "upgrade", "--install", RELEASE, str(CHART)]
        argv += [f"--kubeconfig={self.session.provider.kubeconfig}", f"--namespace={SYSTEM_NAMESPACE}"]
        argv += ["--create-namespace", "--wait", "--timeout=180s", *chart_values(references)]
        with self.progress.step("helm install the operator"):
            logged(argv, self.log)

    def _deploy(self) -> None:
        with self.progress.step("Apply examples/01-quickstart"):
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            self.kubectl.apply([namespace])
            # The demo shows its example: what a person changed meanwhile is set back.
            self.kubectl.text(
                "apply", "--server-side", "--force-conflicts", "-n", NAMESPACE, "-f", str(EXAMPLE)
            )
        with self.progress.step(f"DisaggDeployment {DEPLOYMENT} becomes Available"):
            self._watch()
        with self.progress.step("The operator measures how KV cache moves"):
            self._show_transport()

    def _show_transport(self) -> None:
        """Say what the operator found, which is also when its own requests are over and done with."""
        started = time.monotonic()
        while time.monotonic() - started < MEASURED_SECONDS:
            deployment = self.kubectl.json("get", "disaggdeployment", DEPLOYMENT, "-n", NAMESPACE)
            transport = deployment.get("status", {}).get("transport", {})
            if transport.get("verified") in ("True", "False"):
                self.progress.note(f"    {transport_sentence(transport)}")
                return
            time.sleep(1)
        self.progress.note(
            f"    not measured within {MEASURED_SECONDS:.0f} s: {transport.get('message', '')}"
        )

    def _watch(self) -> None:
        shown: dict[str, str] = {}
        started = unready = time.monotonic()
        while True:
            deployment = self.kubectl.json("get", "disaggdeployment", DEPLOYMENT, "-n", NAMESPACE)
            pods = self.kubectl.json(
                "get", "pods", "-n", NAMESPACE, "-l", f"disagg.dev/deployment={DEPLOYMENT}"
            )
            now = summary(deployment, pods["items"])
            for name, state in now.items():
                if shown.get(name) != state:
                    self.progress.note(f"    {name}: {state}")
            shown = now
            if not is_ready(deployment):
                unready = time.monotonic()
            elif time.monotonic() - unready > SETTLED_SECONDS:
                return
            if time.monotonic() - started > READY_SECONDS:
                raise ClusterError(f"{DEPLOYMENT} was not Available after {READY_SECONDS:.0f} s")
            time.sleep(1)

    def _ask(self) -> None:
        with forwarded(self.kubectl, NAMESPACE, f"service/{DEPLOYMENT}-frontend", 8000) as url:
            with self.progress.step("The frontend lists the model"):
                wait_until_listed(url, MODEL)
            before = self._moved()
            self.out.print(f"\n[bold]You:[/] {escape(PROMPT)}")
            pieces = stream_chat(url, MODEL, PROMPT, max_tokens=64)
            with self.progress.step("First token"):
                first = next(pieces, None)
            if first is None:
                raise ClusterError("the answer is empty")
            self.out.print(f"[bold]{MODEL}:[/] ", end="")
            for piece in chain([first], pieces):
                self.out.print(escape(piece), end="")
                self.out.file.flush()
            self.out.print("\n")
        moved = moved_between(before, self._moved())
        self.out.print(f"[bold]{sentence(moved)}[/]")
        if not moved:
            raise ClusterError("the request was answered, but not by a KV transfer from prefill to decode")

    def _moved(self) -> Moved:
        selector = f"disagg.dev/deployment={DEPLOYMENT},disagg.dev/role=decode"
        pods = self.kubectl.json("get", "pods", "-n", NAMESPACE, "-l", selector)["items"]
        paths = [
            f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:{METRICS_PORT}/proxy/metrics"
            for pod in pods
            if pod_state(pod) == "Ready"
        ]
        return read_bytes(self.kubectl.text("get", "--raw", path) for path in paths)

    def _next(self, seconds: float) -> None:
        programs = f"{Path(self.session.programs.kubectl).parent}:{Path(sys.executable).parent}"
        self.out.print(f"\nDone in {duration(seconds)}. Try next:")
        self.out.print(f"  export KUBECONFIG={self.session.provider.kubeconfig} PATH={programs}:$PATH")
        self.out.print(f"  kubectl -n {NAMESPACE} get dd,pods")
        self.out.print(f"  kubectl disagg status {DEPLOYMENT} -n {NAMESPACE}")
        self.out.print(
            f"  kubectl -n {NAMESPACE} patch dd {DEPLOYMENT} --type=merge "
            '-p \'{"spec":{"decode":{"replicas":2}}}\''
        )
        # Without it, demo-down would look for a cluster of our own.
        choice = "CLUSTER=existing " if self.session.provider.name == "existing" else ""
        self.out.print(f"  {choice}make demo-down")

    def _write_diagnostics(self) -> None:
        """Add what the cluster can say about a failure to the demo's log."""
        questions = (
            ("get", "disaggdeployments,pods,statefulsets,deployments,services", "-A", "-o", "wide"),
            ("describe", "disaggdeployments,pods", "-n", NAMESPACE),
            ("logs", "-n", SYSTEM_NAMESPACE, "-l", "app.kubernetes.io/name=disagg-operator", "--tail=200"),
            ("logs", "-n", NAMESPACE, "-l", f"disagg.dev/deployment={DEPLOYMENT}", "--tail=100", "--prefix"),
            ("get", "events", "-A", "--sort-by=.lastTimestamp"),
        )
        for question in questions:
            try:
                logged(self.kubectl.argv(*question), self.log)
            except ClusterError as error:
                self.progress.note(
                    f"    (no answer to: kubectl {question[0]} {question[1]}: {error.message})"
                )


def remove_demo(session: Session) -> None:
    """Remove the demo: with its cluster where that is ours, else only what the demo put into it."""
    if session.provider.name != "existing":
        session.provider.down()
        return
    kubectl = session.kubectl
    with session.progress.step("Remove the demo from the cluster"):
        kubectl.text("delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait", timeout=180)
        output(
            [
                session.programs.helm,
                "uninstall",
                RELEASE,
                f"--kubeconfig={session.provider.kubeconfig}",
                f"--namespace={SYSTEM_NAMESPACE}",
                "--ignore-not-found",
                "--wait",
            ],
            timeout=180,
        )
        kubectl.text("delete", "namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait", timeout=180)
    session.progress.note(
        "Kept in the cluster: the CustomResourceDefinitions. To remove them, and with them every "
        f"DisaggDeployment of the cluster: kubectl delete crd --selector={OUR_CRDS}"
    )
