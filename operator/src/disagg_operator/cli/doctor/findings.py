"""What is wrong with a deployment, and the next step for each, in the order to look at them. Pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from disagg_operator.api.v1alpha1.status import ConditionType
from disagg_operator.build.agent import AGENT
from disagg_operator.cli.ages import age
from disagg_operator.cli.containers import lasting
from disagg_operator.cli.doctor.collected import OPERATORS, Cause, Collected
from disagg_operator.cli.repeats import Told
from disagg_operator.cli.waiting import is_complete, is_seen, wait_of
from disagg_operator.plan import names
from disagg_operator.plan.model import ROLES
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import has_node, is_ready, label
from disagg_operator.reconcile.reporting.ends import ending, last_end
from disagg_operator.reconcile.reporting.guide import PAGE, heading
from disagg_operator.reconcile.reporting.troubles import first_trouble

_RECENT = timedelta(hours=1)
_MOST_EVENTS = 10
_MOST_STEPS = 2
"""Of one cause."""
_NEXT = {
    ConditionType.ACCEPTED: "Correct what it names, and try it before: kubectl disagg lint -f FILE",
    ConditionType.TRANSPORT_VERIFIED: "Mend what it names, then: kubectl disagg verify {name} --namespace "
    "{namespace}",
    ConditionType.UP_TO_DATE: "kubectl disagg rollout update {name} --namespace {namespace}",
}
_PAGE = "See "
"""How a step begins that is a page to read."""
_LOOK = "kubectl describe pod "
"""How a step begins where nothing better is known."""
_COMMAND = re.compile(r"(?:See|and): (kubectl .+)$")
"""The command at the end of what is said of a pod."""
_FOLLOWS = ("BackOff", "Unhealthy", "FailedScheduling")
"""Reasons of Events that follow from what is told of the pod itself."""
_BAD_FOR_NODES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
_NO_OPERATOR = (
    "Install the operator's chart, or look why it is gone: kubectl get deployments --all-namespaces "
    "--selector app.kubernetes.io/name=disagg-operator"
)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        what: what is wrong, as a sentence.
        next: what to do now.
    """

    what: str
    next: str


def findings(found: Collected, now: datetime) -> list[Finding]:
    """Return what is wrong; nothing where all is well.

    Args:
        found: what was collected.
        now: the time.
    """
    told = Told(pod["metadata"]["name"] for pod in found.pods)
    return [
        *_operators(found),
        *_merged([*_conditions(found.resource, now), *_pods(found)], told),
        *_nodes(found.nodes),
        *_agents(found),
        *_events(found, now, told),
        *(
            Finding(f"Not read: {what}: {each.why}", "Run doctor again; what is listed here may say why.")
            for what, each in found.unread.items()
            if each.cause is Cause.FAILED
        ),
    ]


@dataclass(frozen=True)
class _Cause:
    """Something that is wrong, and may be the same as something else.

    Attributes:
        who: condition or pods that tell, for people; may be empty.
        why: the sentences by which it is known again.
        next: what to do now.
    """

    who: str
    why: str
    next: str

    @property
    def what(self) -> str:
        return f"{self.who}: {self.why}" if self.who else self.why


def _merged(causes: Sequence[_Cause], told: Told) -> Iterator[Finding]:
    """Yield one finding for each cause: who says the same again is named with the first, with the next step.

    Args:
        causes: what is wrong, in the order in which it is told.
        told: what was told before; what is told here is added.
    """
    first: dict[str, list[_Cause]] = {}
    for number, each in enumerate(causes):
        where = told.where(each.why) or str(number)
        told.add(each.why, where)
        first.setdefault(where, []).append(each)
    for alike in first.values():
        head, *others = alike
        steps = _steps(each.next for each in alike)
        who = list(dict.fromkeys(each.who for each in others if each.who))
        again = f" The same: {', '.join(who)}." if who else ""
        yield Finding(f"{head.what}{again}", "; ".join(steps))


def _steps(wanted: Iterable[str]) -> list[str]:
    """Return what to do of what several say: commands about the cause, its page, then any other."""
    steps = list(dict.fromkeys(wanted))
    pages = [each for each in steps if each.startswith(_PAGE)]
    looks = [each for each in steps if each.startswith(_LOOK)]
    meant = [each for each in steps if each not in (*pages, *looks)]
    return [*meant[: _MOST_STEPS - len(pages[:1])], *pages[:1], *looks][:_MOST_STEPS]


def _operators(found: Collected) -> Iterator[Finding]:
    if not found.operators and OPERATORS not in found.unread and not is_seen(found.resource):
        yield Finding("No operator was found in this cluster.", _NO_OPERATOR)
    for each in found.operators:
        place, name = each["metadata"]["namespace"], each["metadata"]["name"]
        if not each.get("status", {}).get("readyReplicas", 0) and each.get("spec", {}).get("replicas", 1):
            what = f"The operator {place}/{name} is not ready."
            yield Finding(what, f"kubectl logs --namespace {place} deployment/{name}")


def _conditions(resource: Object, now: datetime) -> Iterator[_Cause]:
    metadata = resource["metadata"]
    conditions = {each["type"]: each for each in resource.get("status", {}).get("conditions", [])}
    wait = wait_of(resource)
    if wait is not None and not wait.condition:
        since = f" for {age(wait.since, now)}" if wait.since else ""
        step = (
            _NO_OPERATOR
            if wait.reason == "NotSeen"
            else _next(ConditionType.PROGRESSING, metadata, wait.reason)
        )
        yield _Cause(f"{wait.reason}{since}", wait.message, step)
    for kind in ConditionType:
        condition = conditions.get(kind)
        if condition is None or not _is_bad(condition):
            continue
        since = age(condition.get("lastTransitionTime"), now)
        what = f"{kind} is {condition['status']} ({condition['reason']}{f', for {since}' if since else ''})"
        yield _Cause(what, condition.get("message", ""), _next(kind, metadata, condition["reason"]))


def _is_bad(condition: Object) -> bool:
    if condition["type"] == ConditionType.PROGRESSING:
        return not is_complete(condition) and condition["reason"] != "Paused"
    return bool(condition["status"] == "False")


def _next(kind: ConditionType, metadata: Object, reason: str = "") -> str:
    """Return what to do about a condition: a command, or the page that has its reason."""
    if kind in _NEXT:
        return _NEXT[kind].format(name=metadata["name"], namespace=metadata["namespace"])
    return f"{_PAGE}{heading(kind, reason) or PAGE}"


def _pods(found: Collected) -> Iterator[_Cause]:
    """Yield what is wrong with pods; those that were restarted for the same reason are one cause."""
    metadata = found.resource["metadata"]
    place = f"--namespace {metadata['namespace']}"
    restarted: dict[str, list[tuple[str, str, str]]] = {}
    for pod in found.pods:
        role, name = label(pod, names.LABEL_ROLE), pod["metadata"]["name"]
        trouble = None if is_ready(pod) else first_trouble([pod])
        if trouble is not None:
            command = _COMMAND.search(trouble)
            step = command[1] if command else f"{_LOOK}{name} {place}"
            yield _Cause(f"pod {name}", trouble, step)
            continue
        for container in lasting(pod):
            ended = last_end(container)
            if container.get("restartCount") and ended is not None:
                step = f"kubectl logs {name} {place} -c {container['name']} --previous"
                entry = (f"pod {name} ({role})", f"{container['restartCount']} times", step)
                key = (
                    f"Container {container['name']} of {{}} was restarted {{}}; it last ended{ending(ended)}."
                )
                restarted.setdefault(key, []).append(entry)
    for why, entries in restarted.items():
        pods, counts, steps = zip(*entries, strict=True)
        yield _Cause("", why.format(", ".join(pods), ", ".join(counts)), steps[0])


def _nodes(nodes: Iterable[Object]) -> Iterator[Finding]:
    for node in nodes:
        name = node["metadata"]["name"]
        conditions = {each["type"]: each for each in node.get("status", {}).get("conditions", [])}
        bad = [kind for kind in _BAD_FOR_NODES if conditions.get(kind, {}).get("status") == "True"]
        if conditions.get("Ready", {}).get("status", "True") != "True":
            bad.insert(0, f"not Ready: {conditions['Ready'].get('message', '')}".rstrip(": "))
        if bad:
            yield Finding(f"Node {name} is {', '.join(bad)}.", f"kubectl describe node {name}")


def _agents(found: Collected) -> Iterator[Finding]:
    """Yield agents that do not answer, but for those of pods of which it is told why they do not run."""
    troubled = _troubled(found)
    for pod, answer in found.agents.items():
        if isinstance(answer, str) and pod not in troubled:
            place = f"--namespace {found.resource['metadata']['namespace']}"
            yield Finding(f"Pod {pod}: {answer}.", f"kubectl logs {pod} {place} -c {AGENT}")


def _events(found: Collected, now: datetime, told: Told) -> Iterator[Finding]:
    """Yield the newest warnings, each once.

    None is told already, or about pods that are well now or past it, or about the deployment itself: what
    holds of that now, its conditions say.
    """
    troubled = _troubled(found)
    pods = {pod["metadata"]["name"]: pod for pod in found.pods}
    well = {pod["metadata"]["name"] for pod in found.pods if is_ready(pod)}
    seen: dict[tuple[str, str], Object] = {}
    for event in found.events:
        if event.get("type") == "Warning" and now - datetime.fromisoformat(event_time(event)) < _RECENT:
            seen[event.get("reason", ""), event.get("note", "")] = event
    for (reason, note), event in list(seen.items())[-_MOST_EVENTS:]:
        about = event.get("regarding", {})
        kind, name = about.get("kind", ""), about.get("name", "")
        follows = reason in _FOLLOWS and name in troubled
        past = name in pods and _is_past(pods[name], event, found)
        if (
            kind == found.resource["kind"]
            or (kind == "Pod" and (name in well or follows or past))
            or told.where(note)
        ):
            continue
        told.add(note, reason)
        what = f"Event {reason} about {kind} {name} {age(event_time(event), now)} ago: {note}"
        place = f"--namespace {found.resource['metadata']['namespace']}"
        yield Finding(what, f"kubectl describe {kind.lower()} {name} {place}")


def _is_past(pod: Object, event: Object, found: Collected) -> bool:
    """Tell whether a pod got beyond what an Event says of it, or only waits for others as it should."""
    reason, note = event.get("reason", ""), event.get("note", "")
    if reason == "FailedScheduling":
        return has_node(pod)
    if reason != "Unhealthy":
        return False
    if note.startswith("Startup probe"):
        containers = pod.get("status", {}).get("containerStatuses", [])
        return bool(containers) and all(each.get("started") for each in containers)
    of_frontend = label(pod, names.LABEL_ROLE) == names.FRONTEND
    workers = (each for each in found.pods if label(each, names.LABEL_ROLE) in ROLES)
    return of_frontend and note.startswith("Readiness probe") and not all(is_ready(each) for each in workers)


def _troubled(found: Collected) -> set[str]:
    """Return the names of pods that are in trouble."""
    return {pod["metadata"]["name"] for pod in found.pods if first_trouble([pod])}


def event_time(event: Object) -> str:
    """Return when an Event was last seen."""
    series = event.get("series") or {}
    told = series.get("lastObservedTime") or event.get("deprecatedLastTimestamp") or event.get("eventTime")
    return str(told or event["metadata"]["creationTimestamp"])
