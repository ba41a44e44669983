"""The bundle of ``kubectl disagg doctor``: files without secrets, and the archive of them.

Invariant: nothing gets into the archive but through the redactor, names of files included.
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
from disagg_operator.cli.doctor.collected import Collected
from disagg_operator.cli.doctor.findings import Finding
from disagg_operator.cli.doctor.redaction import Redactor
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
are replaced by REMOVED, wherever they are repeated, and so is what looks like a well-known token, a password
in a URL or a private key. What a program calls by an innocent name cannot be known: look before
you send it on.
"""


def files(found: Collected, told: Iterable[Finding], now: datetime) -> dict[str, str]:
    """Return the texts of the bundle by their paths.

    Args:
        found: what was collected.
        told: what is wrong.
        now: the time.
    """
    objects = [found.resource, *found.children, *found.pods, *found.operators, *found.nodes, *found.events]
    evidence = {pod: _parsed(answer) for pod, answer in found.agents.items()}
    redactor = Redactor([*objects, *evidence.values(), dict(found.versions)])

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
        "unread.txt": redactor.text("".join(f"{what}: {why}\n" for what, why in found.unread.items())),
    }
    for obj in (*found.children, *found.pods):
        texts[f"children/{obj['kind']}/{obj['metadata']['name']}.yaml"] = yaml(obj)
    for pod, answer in evidence.items():
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
    """Refuse to write where something is, before a cluster is asked.

    Raises:
        UserError: there is something.
    """
    if target.exists():
        raise UserError(f"{target} is there already: --bundle names another file.")


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
            body = text.encode()
            info = tarfile.TarInfo(f"{root}/{path}")
            info.size, info.mtime, info.mode = len(body), int(now.timestamp()), 0o600
            archive.addfile(info, io.BytesIO(body))
    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content.getvalue())
    except OSError as error:
        raise UserError(
            f"{target} cannot be written: {error.strerror}. --bundle names another file."
        ) from None


def _parsed(answer: bytes | str) -> Any:
    if isinstance(answer, str):
        return {"error": answer}
    try:
        return json.loads(answer)
    except ValueError:
        return {"error": "the answer is no JSON", "answer": answer.decode(errors="replace")}


def _path(path: str) -> str:
    """Return a path that leads nowhere but into the archive."""
    return _UNSAFE.sub("_", path).replace("..", "_")
