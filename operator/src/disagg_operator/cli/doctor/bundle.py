"""The bundle of ``kubectl disagg doctor``: files without secrets, and the archive of them.

Invariant: nothing that was collected gets into the archive but through the redactor, names of files included.
"""

import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from disagg_operator.cli import documents
from disagg_operator.cli.doctor.collected import Cause, Collected, Unread
from disagg_operator.cli.doctor.findings import Finding
from disagg_operator.cli.doctor.redaction import Redactor, parsed
from disagg_operator.cli.overview import overview
from disagg_operator.cli.terminal import UserError
from disagg_operator.reconcile.kinds import Object

_UNSAFE = re.compile(r"[^A-Za-z0-9._/-]")
_README = """What `kubectl disagg doctor` read of {namespace}/{name} at {time}.

findings.txt    what is wrong, and the next step for each
status.yaml     roles, pods, transport, conditions, and what it waits for
resource.yaml   the DisaggDeployment
children/       what the operator made for it, and its pods
events.yaml     Events about all of these
agents/         what the transport agents beside the workers see
logs/           the last lines of each container, and of its run before
nodes/          the nodes that its pods are on
versions.yaml   versions of Kubernetes, the operator, the plugin and all images
unread.txt      what could not be read, and why

Secrets are not read. Values of variables, settings and flags with names such as token, password or API key
are replaced by REMOVED, and so is what looks like a well-known token, a password in a URL or a private key.
What an object tells so is replaced wherever it is repeated, what only a log tells within that log. What a
program calls by an innocent name cannot be known: look before you send it on.
"""


def redactor_of(found: Collected) -> Redactor:
    """Return what takes the secrets of all that was collected out of whatever is told of it."""
    objects = [found.resource, *found.children, *found.pods, *found.operators, *found.nodes, *found.events]
    return Redactor([*objects, *_evidence(found).values(), dict(found.versions)])


def files(found: Collected, told: Iterable[Finding], redactor: Redactor, now: datetime) -> dict[str, str]:
    """Return the texts of the bundle by their paths.

    Args:
        found: what was collected.
        told: what is wrong.
        redactor: takes out secrets.
        now: the time.
    """

    def yaml(*each: Any) -> str:
        return documents.write([redactor.object(obj) for obj in each])

    metadata = found.resource["metadata"]
    status = overview(found.resource, found.pods, found.instances)
    texts = {
        "README.txt": _README.format(
            name=metadata["name"], namespace=metadata["namespace"], time=now.isoformat()
        ),
        "findings.txt": redactor.text(text_of(told)),
        "status.yaml": yaml(status),
        "resource.yaml": yaml(found.resource),
        "events.yaml": yaml(*found.events),
        "versions.yaml": yaml(dict(found.versions)),
        "unread.txt": redactor.text("".join(f"{what}: {each.why}\n" for what, each in found.unread.items())),
    }
    for obj in (*found.children, *found.pods):
        texts[f"children/{obj['kind']}/{obj['metadata']['name']}.yaml"] = yaml(obj)
    for pod, answer in _evidence(found).items():
        texts[f"agents/{pod}.json"] = json.dumps(redactor.object(answer), indent=2)
    for path, log in found.logs.items():
        texts[f"logs/{path}"] = redactor.text(log)
    for node in found.nodes:
        texts[f"nodes/{node['metadata']['name']}.yaml"] = yaml(node_facts(node))
    return {_path(redactor.text(path)): text for path, text in texts.items()}


def text_of(told: Iterable[Finding]) -> str:
    """Return findings for people."""
    parts = [f"{number}. {each.what}\n   Next: {each.next}\n" for number, each in enumerate(told, start=1)]
    return "".join(parts) or "Nothing wrong was found.\n"


def forbidden(unread: Mapping[str, Unread]) -> str:
    """Return for people what they may not read; nothing where they may read all."""
    parts = [f"- {what}: {each.why}\n" for what, each in unread.items() if each.cause is Cause.FORBIDDEN]
    return "".join(["Not looked at, as you may not read it:\n", *parts]) if parts else ""


def node_facts(node: Object) -> Object:
    """Return what a node is and has, without what its other pods and images are."""
    status, metadata = node.get("status", {}), node["metadata"]
    kept = ("capacity", "allocatable", "conditions", "nodeInfo")
    return {
        "kind": "Node",
        "metadata": {"name": metadata["name"], "labels": metadata.get("labels", {})},
        "spec": {
            key: node.get("spec", {})[key]
            for key in ("taints", "unschedulable")
            if key in node.get("spec", {})
        },
        "status": {key: status[key] for key in kept if key in status},
    }


def refuse_taken(target: Path) -> None:
    """Refuse to write where something is, or nothing can be, before a cluster is asked.

    Raises:
        UserError: there is something, or it cannot be.
    """
    try:
        target.lstat()
    except FileNotFoundError:
        _refuse_folder(target.parent)
    except OSError as error:
        raise _unwritable(target, error) from None
    else:
        raise UserError(f"{target} is there already: --bundle names another file.")


def _refuse_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: make it, or --bundle names a file elsewhere.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(f"nothing may be written in {folder}: --bundle names a file elsewhere.")


def _unwritable(target: Path, error: OSError) -> UserError:
    return UserError(f"{target} cannot be written: {error.strerror}. --bundle names another file.")


def write(target: Path, root: str, texts: Mapping[str, str], now: datetime) -> None:
    """Write an archive that only its owner may read; a file that is there is left as it is.

    Args:
        target: path of the archive.
        root: folder within the archive.
        texts: texts by path.
        now: time of all files.

    Raises:
        UserError: it could not be written.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for path, text in sorted(texts.items()):
            body = text.encode(errors="replace")
            info = tarfile.TarInfo(f"{root}/{path}")
            info.size, info.mtime, info.mode = len(body), int(now.timestamp()), 0o600
            archive.addfile(info, io.BytesIO(body))
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content.getvalue())
    except OSError as error:
        raise _unwritable(target, error) from None


def _evidence(found: Collected) -> dict[str, Any]:
    """Return what each agent told, by name of the pod."""
    return {pod: _told(answer) for pod, answer in found.agents.items()}


def _told(answer: bytes | str) -> Any:
    if isinstance(answer, str):
        return {"error": answer}
    told = parsed(answer)
    return {"error": "not understood", "answer": answer.decode(errors="replace")} if told is None else told


def _path(path: str) -> str:
    """Return a path that leads nowhere but into the archive."""
    return _UNSAFE.sub("_", path).replace("..", "_")
