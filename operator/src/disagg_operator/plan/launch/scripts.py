"""The scripts of a pod group, from jinja2 templates beside this file. They run in the engine's own image.

Invariant: they depend on the plan alone, and are files of the role: another script is another revision.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from disagg_operator.plan.environment import fill
from disagg_operator.platforms.profile import MpiLaunch

LAUNCH, SESSION, PROBE = "launch.sh", "session.sh", "probe.sh"
KEY_FOLDER = "/etc/disagg-ssh"
"""Folder in which a pod sees the key by which the pods of its groups let each other in."""
WORK_FOLDER = "/tmp/disagg-launch"  # noqa: S108 - a path inside the container
"""Folder in which the scripts write."""
READY = "disagg-ready"
"""Command by which the leader asks a pod over ssh whether it would run its ranks."""
LOOPBACK = "127.0.0.1"
"""Where a server answers that listens on all addresses."""

# Shell scripts, not HTML: escaping would corrupt them.
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    undefined=StrictUndefined,
    autoescape=False,  # noqa: S701
    keep_trailing_newline=True,
)


@dataclass(frozen=True)
class Ranks:
    """The ranks of one model instance.

    Attributes:
        nodes: pods of the group.
        slots: ranks of each pod.
    """

    nodes: int
    slots: int


def scripts(launch: MpiLaunch, ranks: Ranks, own: Iterable[str], address: str = LOOPBACK) -> dict[str, str]:
    """Return the scripts by file name.

    Args:
        launch: how the engine's release starts ranks.
        ranks: how many there are.
        own: names of variables whose values differ from pod to pod.
        address: where the leader's HTTP server listens, as a word of a shell.
    """
    values = {
        "nodes": ranks.nodes,
        "slots": ranks.slots,
        "port": launch.ssh_port,
        "address": address,
        "ready": READY,
        "wait_seconds": launch.wait_seconds,
        "key_path": KEY_FOLDER,
        "work_path": WORK_FOLDER,
        "wrapper": [quote(word) for word in launch.wrapper],
        "own": sorted(own),
        "open_mpi": [(version, _settings(launch, version)) for version in sorted(launch.open_mpi)],
    }
    return {name: _TEMPLATES.get_template(f"{name}.j2").render(values) for name in (LAUNCH, SESSION, PROBE)}


def probe_script() -> str:
    """Return the script of probes where ranks run no sshd."""
    return _TEMPLATES.get_template(f"{PROBE}.j2").render({"port": None, "address": LOOPBACK})


def _settings(launch: MpiLaunch, version: str) -> list[tuple[str, str]]:
    paths = {"ssh_config": f"{WORK_FOLDER}/ssh_config"}
    return [(setting.name, quote(fill(setting.value or "", paths))) for setting in launch.open_mpi[version]]
