"""Workers that are ended when their engine says that KV transfer is broken until they are started anew.

Only an engine's own words count that name a restart as the remedy (its release's profile holds them): failing
requests alone may be the fault of whoever sends them, or of the other role.
"""

from dataclasses import replace

from disagg_operator.plan.engines.engine import CONFIG_FOLDER
from disagg_operator.plan.model import RolePlan
from disagg_operator.plan.programs.source import script
from disagg_operator.platforms.profile import Wedged

WATCH = "watch_output.py"
"""Name of the program, and of its file beside the engine's."""


def watched(role: RolePlan, wedged: tuple[Wedged, ...], seconds: int) -> RolePlan:
    """Return the role with workers that end when they say so; as it is where no words are known.

    Args:
        role: the workers.
        wedged: what the engine says.
        seconds: time that such a worker gets to finish what it is doing.
    """
    if not wedged:
        return role
    patterns = (each.pattern for each in wedged)
    watch = ("python3", f"{CONFIG_FOLDER}/{WATCH}", str(seconds), *patterns, "--")
    pod = replace(role.pod, command=(*watch, *role.pod.command))
    return replace(role, pod=pod, files={**role.files, WATCH: script(WATCH)})
