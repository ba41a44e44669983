"""What a client asks an API server for, and the log of all of it. TEST TOOL.

Invariants: the verbs are those of Kubernetes (`apply` beside `patch`, `list` and `watch` beside `get`); an
entry of the log is made when its request arrives and completed when it was answered.
"""

import hashlib
import json
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

READS = frozenset({"get", "list", "watch"})
NO_ANSWER = 0
"""Code of a request whose connection was reset, or that is not answered yet."""
CLIENT_LEFT = 499
"""Code of a request whose client closed the connection before it was answered."""
_APPLY = "application/apply-patch+yaml"
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        verb: get, list, watch, create, update, patch, apply or delete.
        resource: plural, such as ``statefulsets``; empty for what is no resource.
        subresource: such as ``status``, or nothing.
        namespace, name: of the object; empty where there is none.
        path: path and query, as they were sent.
        body: what was sent.
        agent: the client's name for itself.
    """

    verb: str
    resource: str
    subresource: str
    namespace: str
    name: str
    path: str
    body: bytes = b""
    agent: str = ""

    @property
    def is_write(self) -> bool:
        """Whether it may change something that the operator manages: Leases and Events are not meant."""
        return self.verb not in READS and self.resource not in {"leases", "events", ""}

    def __str__(self) -> str:
        of = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {of} {self.name}".rstrip()


def parse(
    method: str, path: str, query: Mapping[str, str], *, content: str, body: bytes = b"", agent: str = ""
) -> Call:
    """Return what a request asks for.

    Args:
        method: of HTTP.
        path: path and query, as they were sent.
        query: the query's parameters.
        content: type of the body.
        body: what was sent.
        agent: the client's name for itself.
    """
    resource, subresource, namespace, name = _place(path.partition("?")[0])
    verb = _VERBS.get(method, "get")
    if verb == "patch" and content.startswith(_APPLY):
        verb = "apply"
    elif verb == "get" and resource and not name:
        verb = "watch" if query.get("watch") in {"1", "true"} else "list"
    if verb == "create":
        name = json.loads(body or b"{}").get("metadata", {}).get("name", "")
    return Call(verb, resource, subresource, namespace, name, path, body, agent)


def _place(path: str) -> tuple[str, str, str, str]:
    """Return resource, subresource, namespace and name."""
    parts = path.strip("/").split("/")
    rest = {"api": parts[2:], "apis": parts[3:]}.get(parts[0], [])
    namespace = ""
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        namespace, rest = rest[1], rest[2:]
    resource, name, subresource = [*rest, "", "", ""][:3]
    return resource, subresource, namespace, name


@dataclass
class Entry:
    """One line of the log.

    Attributes:
        number: position among all requests of this proxy, from 1.
        call: the request.
        began: when it arrived, in seconds of the monotonic clock.
        digest: SHA-256 of the body, shortened.
        fault: what was done to it, or nothing.
        passed: when it was passed on to the API server; None if it was not.
        code: HTTP status that the client got; `NO_ANSWER` or `CLIENT_LEFT`.
        ended: when that was.
    """

    number: int
    call: Call
    began: float = field(default_factory=time.monotonic)
    digest: str = ""
    fault: str = ""
    passed: float | None = None
    code: int = NO_ANSWER
    ended: float | None = None

    def __post_init__(self) -> None:
        self.digest = hashlib.sha256(self.call.body).hexdigest()[:16]

    def end(self, code: int) -> None:
        """Note what the client got, and when."""
        self.code, self.ended = code, time.monotonic()

    def __str__(self) -> str:
        return f"{self.number} {self.began:.3f} {self.call} {self.code} {self.fault}".rstrip()


@dataclass(frozen=True)
class Match:
    """Which requests are meant; what is left out is not looked at.

    Attributes:
        verbs: verbs.
        resources: plurals.
        subresource: exactly this one; an empty string means the object itself.
        name: a part of the object's name.
        namespace: the namespace.
        writes: whether they must be writes (`Call.is_write`).
    """

    verbs: Collection[str] = ()
    resources: Collection[str] = ()
    subresource: str | None = None
    name: str = ""
    namespace: str = ""
    writes: bool = False

    def __call__(self, call: Call) -> bool:
        return (
            (not self.verbs or call.verb in self.verbs)
            and (not self.resources or call.resource in self.resources)
            and self.subresource in (None, call.subresource)
            and self.name in call.name
            and self.namespace in ("", call.namespace)
            and (call.is_write or not self.writes)
        )
