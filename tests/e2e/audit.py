"""What the operator was allowed to do, against what the API server's audit log says it did.

Invariants: a verb is used if a request of the operator's service account was allowed by it. The log shows
three uses otherwise than as a request of that verb: server-side apply of a new object is a `patch` answered
201 (and needs `create` as well); handing out a role is checked as `bind` while a RoleBinding is created; and
`update` of finalizers is checked while a child whose owner waits for it is created.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from e2e.cluster_client import Object

CREATED = 201
FORBIDDEN = 403


class Permission(NamedTuple):
    """A verb on a resource; the resource includes a subresource, as in RBAC rules."""

    group: str
    resource: str
    verb: str


BIND_RESOURCES = {
    Permission("rbac.authorization.k8s.io", "clusterroles", "bind"),
    Permission("rbac.authorization.k8s.io", "roles", "bind"),
}
FINALIZERS = Permission("disagg.dev", "disaggdeployments/finalizers", "update")
BINDINGS = "rolebindings"


@dataclass(frozen=True)
class Request:
    """A request of the operator.

    Attributes:
        permission: what it asks for.
        code: HTTP status of the answer.
        told: the request as a line for people.
    """

    permission: Permission
    code: int
    told: str


def granted(roles: Iterable[Object]) -> set[Permission]:
    """Return what roles permit."""
    return {
        Permission(group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


@dataclass(frozen=True)
class AuditTrail:
    """The API server's audit log from some moment on.

    Attributes:
        log: one JSON object a line.
        offset: where to begin, in bytes.
    """

    log: Path
    offset: int

    def requests(self, user: str) -> Iterator[Request]:
        """Yield a user's requests about resources."""
        with self.log.open("rb") as lines:
            lines.seek(self.offset)
            for line in lines:
                event = json.loads(line)
                if event["user"].get("username") == user and "objectRef" in event and not _passes(event):
                    yield _request(event)


def _passes(event: Object) -> bool:
    """Tell whether a request was refused for a while only, and for no lack of permission.

    Admission looks owners up in a discovery that is up to half a minute old: a kind just installed is
    not in it. In a namespace that is being deleted, nothing new may be made.
    """
    message = event.get("responseStatus", {}).get("message", "")
    return "cannot find RESTMapping" in message or "because it is being terminated" in message


def _request(event: Object) -> Request:
    about = event["objectRef"]
    resource = "/".join(part for part in (about.get("resource", ""), about.get("subresource", "")) if part)
    permission = Permission(about.get("apiGroup", ""), resource, event["verb"])
    code = event.get("responseStatus", {}).get("code", 0)
    return Request(permission, code, f"{event['verb']} {event['requestURI']} answered {code}")


def used(made: Iterable[Request]) -> set[Permission]:
    """Return the permissions without which these requests would have been refused."""
    found: set[Permission] = set()
    for request in made:
        if request.code == FORBIDDEN:
            continue
        permission = request.permission
        found.add(permission)
        if permission.verb == "patch" and request.code == CREATED:
            found |= {permission._replace(verb="create"), FINALIZERS}
            if permission.resource == BINDINGS:
                found |= BIND_RESOURCES
    return found
