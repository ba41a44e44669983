"""Why a pod is not ready, in a sentence that says what to do next. Pure."""

from collections.abc import Iterable

from disagg_operator.build.agent import AGENT
from disagg_operator.build.download import FETCH
from disagg_operator.build.pods import CHECK, GATE
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import container_statuses, unscheduled
from disagg_operator.reconcile.reporting.ends import ending
from disagg_operator.reconcile.reporting.fetching import REFUSED, told
from disagg_operator.reconcile.reporting.guide import check_heading
from disagg_operator.reconcile.reporting.missing import UNBOUND, missing_in
from disagg_operator.reconcile.reporting.worker_checks import findings

_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError"}
_CONFIG = {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}
_CRASH = "CrashLoopBackOff"


def first_trouble(pods: Iterable[Object]) -> str | None:
    """Return what keeps the first troubled pod from being ready, or None where all goes its way.

    Args:
        pods: pods of one role.
    """
    for pod in pods:
        found = _trouble(pod)
        if found:
            return found
    return None


def _trouble(pod: Object) -> str | None:
    name, place = pod["metadata"]["name"], f"--namespace {pod['metadata']['namespace']}"
    why = unscheduled(pod)
    if why is not None:
        return _without_node(pod, _sentence(why))
    for container in container_statuses(pod):
        found = _container_trouble(name, pod["metadata"]["namespace"], container)
        if found:
            return found
    for container in pod.get("status", {}).get("initContainerStatuses", []):
        if container["name"] == GATE and "running" in container.get("state", {}):
            return f"Pod {name} waits for etcd or NATS to answer. See: kubectl logs {name} {place} -c {GATE}"
        if container["name"] == FETCH and "running" in container.get("state", {}):
            return f"Pod {name} waits for its model. See: kubectl logs {name} {place} -c {FETCH}"
    return None


def _without_node(pod: Object, why: str) -> str:
    """Say what to do about a pod that was given no node."""
    name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
    lacking = missing_in(why)
    if lacking is not None:
        return f"Pod {name} cannot start: {lacking.told(namespace)}"
    if UNBOUND in why:
        claims = "".join(f" {claim}" for claim in _claims(pod))
        return (
            f"Pod {name} waits for a volume: its PersistentVolumeClaim{claims} is bound to none ({UNBOUND}). "
            f"See: kubectl describe persistentvolumeclaims{claims} --namespace {namespace}"
        )
    return (
        f"Pod {name} cannot be scheduled: {why} Free or add nodes, or change spec.placement, "
        "resources or devices."
    )


def _claims(pod: Object) -> list[str]:
    """Return the names of the PersistentVolumeClaims that a pod uses."""
    volumes = pod.get("spec", {}).get("volumes", [])
    return [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]


def _container_trouble(pod: str, namespace: str, container: Object) -> str | None:
    place = f"--namespace {namespace}"
    wrong = [each for each in findings(container) if each.ok is False]
    if wrong:
        lacks = " ".join(f"{each.check}: {each.says}" for each in wrong)
        return (
            f"Pod {pod} lacks what its engine needs: {lacks} See "
            f"{check_heading(wrong[0].check)} and: kubectl logs {pod} {place} -c {CHECK}"
        )
    fetch = told(container)
    if fetch is not None and fetch.reason in REFUSED and not container.get("ready"):
        return f"Pod {pod} cannot fetch its model. {fetch.says} See: kubectl logs {pod} {place} -c {FETCH}"
    waiting = container.get("state", {}).get("waiting", {})
    reason = waiting.get("reason", "")
    message = _sentence(waiting.get("message") or reason)
    if reason in _IMAGE and container.get("name") == AGENT:
        return (
            f"Pod {pod} cannot get the image of its transport agent ({reason}): {message} It is the chart's "
            "worker.image: give the namespace access to it by spec.runtime.imagePullSecrets, or leave the "
            "agent out by spec.verification.mode: Off."
        )
    if reason in _IMAGE:
        return (
            f"Pod {pod} cannot get its image ({reason}): {message} Check spec.runtime.image and "
            "spec.runtime.imagePullSecrets."
        )
    if reason in _CONFIG and (lacking := missing_in(message)) is not None:
        return f"Pod {pod} cannot start: {lacking.told(namespace)}"
    if reason in _CONFIG:
        return (
            f"Pod {pod} cannot be started ({reason}): {message} Check the Secrets and ConfigMaps that it "
            "refers to."
        )
    ended = container.get("lastState", {}).get("terminated") or container.get("state", {}).get("terminated")
    if reason == _CRASH or (ended and not container.get("ready")):
        which = f" -c {container['name']}" if container.get("name") in (GATE, AGENT) else ""
        return (
            f"Pod {pod} keeps ending{ending(ended or {})}. See: kubectl logs {pod} {place} --previous{which}"
        )
    return None


def _sentence(text: str) -> str:
    """End the text like a sentence, and keep it to a length that a person reads."""
    return f"{text.strip()[:500].rstrip('.')}."
