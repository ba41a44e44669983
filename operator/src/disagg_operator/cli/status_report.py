"""The tables of ``kubectl disagg status``, made from the documents of `overview`. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.text import Text

from disagg_operator.cli.ages import age
from disagg_operator.cli.exit_codes import Code
from disagg_operator.cli.overview import SHOWN_ROLES
from disagg_operator.cli.repeats import Told
from disagg_operator.cli.waiting import Wait, doctor, gist, is_complete
from disagg_operator.plan.model import ROLES

Cell = str | Text
_GOOD, _BAD, _OPEN = "green", "bold red", "yellow"
_STYLES = {"True": _GOOD, "False": _BAD, "Unknown": _OPEN}
_GIGA = 1e9
_WORTH_LEAVING_OUT = 40
"""Characters: a shorter message is read sooner than where it stands."""


@dataclass(frozen=True)
class Section:
    """A table with its title.

    Attributes:
        title: what stands above it.
        headings: heading of each column.
        rows: its rows.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[Cell]]


def code(documents: Iterable[dict[str, Any]]) -> Code:
    """Return the exit code that tells whether all deployments serve as they were asked to."""
    found = list(documents)
    if any(each["seen"] and _fails(each) for each in found):
        return Code.NOT_VERIFIED
    if all(each["seen"] and each["available"] == "True" for each in found):
        return Code.VERIFIED
    return Code.UNKNOWN


def _fails(document: dict[str, Any]) -> bool:
    """Tell whether a deployment does not serve, is refused, or moves KV cache worse than promised."""
    verified = document["transport"]["verified"]
    return "False" in (document["available"], verified) or _is_refused(document)


def _is_refused(document: dict[str, Any]) -> bool:
    return any((each["type"], each["status"]) == ("Accepted", "False") for each in document["conditions"])


def of_all(documents: Iterable[dict[str, Any]], now: datetime, *, namespaces: bool) -> Section:
    """Return one row for each deployment.

    Args:
        documents: of `overview.summary`.
        now: the time.
        namespaces: whether the namespace is told.
    """
    headings = ("Name", "Platform", "Prefill", "Decode", "Transport", "Verified", "Ready", "Age", "Waits for")
    return Section(
        "",
        ("Namespace", *headings) if namespaces else headings,
        [
            (*((each["namespace"],) if namespaces else ()), *_row(each, now))
            for each in sorted(documents, key=lambda each: (each["namespace"], each["name"]))
        ],
    )


def of_one(document: dict[str, Any], now: datetime) -> list[Section]:
    """Return the tables of one deployment, what may be long at the end.

    Args:
        document: of `overview.overview`.
        now: the time.
    """
    sections = [
        Section(
            f"{document['namespace']}/{document['name']}", ("Field", "Value"), list(_facts(document, now))
        ),
        Section("Roles", ("Role", "Ready", "Updated", "Transport", "Remarks"), list(_roles(document))),
    ]
    if len(document["revisions"]) > 1:
        rows = [tuple(each.values()) for each in document["revisions"]]
        sections.append(Section("Revisions", ("Revision", "Is", "Prefill ready", "Decode ready"), rows))
    rows = list(_conditions(document, now))
    if rows:
        sections.append(Section("Conditions", ("Type", "Status", "Reason", "Since", "Message"), rows))
    if document["pods"]:
        headings = ("Pod", "Role", "Revision", "Group", "Rank", "Node", "State", "Ready", "Restarts", "Age")
        rows = [(*_pod(pod, now), _nics(pod)) for pod in document["pods"]]
        sections.append(Section("Pods", (*headings, "NICs"), rows))
    if document["computeDomain"]:
        nodes = document["computeDomain"].get("nodes", [])
        rows = [(each["name"], each.get("clique", ""), _truth(str(each["ready"]))) for each in nodes]
        title = f"ComputeDomain {document['computeDomain']['name']}"
        sections.append(Section(title, ("Node", "Clique", "Ready"), rows))
    return sections


def _conditions(document: dict[str, Any], now: datetime) -> Iterator[tuple[Cell, ...]]:
    """Yield a row for each condition; of a message that another has told already, which that is."""
    told = Told(pod["name"] for pod in document["pods"])
    for each in document["conditions"]:
        message = each.get("message", "")
        again = told.where(message) if len(message) > _WORTH_LEAVING_OUT else ""
        told.add(message, each["type"])
        since = age(each.get("lastTransitionTime"), now)
        status = Text(each["status"], style=_style(each))
        yield each["type"], status, each["reason"], since, f"as {again}, above" if again else message


def _style(condition: dict[str, Any]) -> str:
    """Return the colour of a condition's status."""
    if condition["type"] == "Progressing" and is_complete(condition):
        return _GOOD
    return _STYLES.get(condition["status"], "")


def _row(document: dict[str, Any], now: datetime) -> Iterator[Cell]:
    roles, transport = document["roles"], document["transport"]
    yield document["name"]
    yield f"{document['platform'] or ''}{' (refused)' if _is_refused(document) else ''}"
    for role in ROLES:
        yield _ready(roles[role])
    yield transport.get("observed") or transport.get("configured") or ""
    yield _truth(transport["verified"])
    yield _truth(document["available"])
    yield age(document["created"], now)
    yield _wait(document, now)


def _facts(document: dict[str, Any], now: datetime) -> Iterator[tuple[Cell, Cell]]:
    yield "serves", _truth(document["available"])
    yield from (("waits for", cause) for cause in _causes(document, now))
    refused = " (refused: what runs is older than this specification)" if _is_refused(document) else ""
    yield "platform", f"{document['platform'] or ''}{refused}"
    parts = (document["engine"], document["version"], document["frontend"])
    yield "runtime", " ".join(str(part) for part in parts if part) + refused
    yield "address", document["address"] or "none yet"
    yield "revision", _revision(document)
    if document["rollout"]:
        yield "rollout", _rollout(document["rollout"], now)
    transport = document["transport"]
    yield (
        "transport",
        transport.get("observed") or f"{transport.get('configured') or 'unknown'} (not measured)",
    )
    yield "verified", Text(_verified(transport, now), style=_STYLES[transport["verified"]])
    if transport.get("devicesGiven") is not None:
        yield "NICs", f"{transport.get('devicesUsed', 0)} used of {transport['devicesGiven']} given"
    if transport["step"]:
        yield "measures", transport["step"]


def _verified(transport: dict[str, Any], now: datetime) -> str:
    measured = f", {age(str(transport['time']), now)} ago" if transport.get("time") else ""
    return f"{transport['verified']} ({transport.get('reason', 'NotSeen')}{measured})"


def _causes(document: dict[str, Any], now: datetime) -> Iterator[Cell]:
    """Yield what is waited for, and why, a line for each cause."""
    wait = document["waitsFor"]
    if wait is None:
        yield _wait(document, now)
        return
    pods = list(_troubles(document["pods"], now))
    told_by_pods = bool(pods) and gist(wait["message"]).startswith("Pod ")
    if not told_by_pods:
        yield _wait(document, now)
    yield from (Text(gist(line), style=_OPEN) for line in wait["message"].splitlines()[1:])
    yield from pods
    yield Text(f"details: {doctor({'metadata': document})}")


def _troubles(pods: Sequence[dict[str, Any]], now: datetime) -> Iterator[Text]:
    """Yield what keeps the pods of each role from being ready, those with the same trouble in a line."""
    for role in SHOWN_ROLES:
        alike: dict[str, list[dict[str, Any]]] = {}
        for pod in pods:
            if pod["role"] == role and pod["trouble"]:
                alike.setdefault(gist(pod["trouble"].removeprefix(f"Pod {pod['name']} ")), []).append(pod)
        for why, (pod, *others) in alike.items():
            too = f" and {len(others)} more" if others else ""
            what = f"{role}: {pod['name']}{too} {pod['state']} for {age(pod['created'], now)}: {why}"
            yield Text(what, style=_OPEN)


def _wait(document: dict[str, Any], now: datetime) -> Cell:
    """Return what is waited for in a line."""
    wait = document["waitsFor"]
    if wait is None:
        return Text("nothing", style=_GOOD)
    first = wait["message"].partition("\n")[0]
    since = f"for {age(wait['since'], now)}" if wait["since"] else ""
    return Text(Wait(wait["condition"], wait["reason"], first, wait["since"]).brief(since), style=_OPEN)


def _revision(document: dict[str, Any]) -> str:
    serving, wanted = document["revision"] or "none", document["updateRevision"]
    return serving if wanted in (None, serving) else f"{serving} serves, {wanted} is to take over"


def _rollout(found: dict[str, Any], now: datetime) -> str:
    parts = [f"to {found['revision']}"]
    if found.get("failedReason"):
        failed = age(str(found["failedTime"]), now) if found.get("failedTime") else ""
        parts.append(f"given up{f' {failed} ago' if failed else ''} ({found['failedReason']})")
    elif found.get("startedTime"):
        parts.append(f"since {age(str(found['startedTime']), now)}")
    parts.append(f"{found.get('ready', 0)} new instances ready, {found.get('remaining', 0)} old left")
    if found.get("progressTime") and not found.get("failedReason"):
        parts.append(f"last step {age(str(found['progressTime']), now)} ago")
    return ", ".join(parts)


def _roles(document: dict[str, Any]) -> Iterator[tuple[Cell, ...]]:
    for role in SHOWN_ROLES:
        found = document["roles"][role]
        scaled = f"scaled by {found['scaler']}" if found["scaler"] else None
        checked = f"check of its nodes: {found['preflight']}" if found["preflight"] else None
        remarks = [text for text in (scaled, checked, found["wedged"]) if text]
        yield role, _ready(found), str(found["updated"]), found["transport"] or "", "; ".join(remarks)


def _ready(role: dict[str, Any]) -> Text:
    complete = role["ready"] >= role["desired"]
    return Text(f"{role['ready']}/{role['desired']}", style=_GOOD if complete else _OPEN)


def _pod(pod: dict[str, Any], now: datetime) -> Iterator[Cell]:
    for key in ("name", "role", "revision", "group", "rank", "node"):
        yield pod[key] or ""
    yield Text(pod["state"], style="" if pod["ready"] else _OPEN)
    yield _truth(str(pod["ready"]))
    yield str(pod["restarts"])
    yield age(pod["created"], now)


def _nics(pod: dict[str, Any]) -> str:
    """Return the NICs as the agent tells them, or else the devices that Kubernetes promised the pod."""
    promised = ", ".join(f"{count} {resource}" for resource, count in sorted(pod["devices"].items()))
    if pod["nics"] is None:
        return promised
    if isinstance(pod["nics"], str):
        return f"{promised}; {pod['nics']}" if promised else pod["nics"]
    lines = [
        f"{each['name']} {each['state'] or ''} {_moved(each)}".strip()
        for each in pod["nics"]
        if each["given"] is not False
    ]
    return "\n".join(lines) or "none"


def _moved(nic: dict[str, Any]) -> str:
    counts = ((nic["rxBytes"], "received"), (nic["txBytes"], "sent"))
    return ", ".join(f"{count / _GIGA:.1f} GB {word}" for count, word in counts if count is not None)


def _truth(text: str) -> Text:
    return Text(text, style=_STYLES.get(text, ""))
