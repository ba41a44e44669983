"""Model instances on several nodes whose engine joins them itself: vLLM and SGLang.

Every node runs the same command and is told its rank and where the first node is. Only the first node answers
probes; another is well while its engine runs, and its container ends with it.
"""

from dataclasses import replace

from disagg_operator.plan.engines.engine import CONFIG_FOLDER
from disagg_operator.plan.environment import fill
from disagg_operator.plan.launch.group import joined, probe_of_leader
from disagg_operator.plan.launch.scripts import PROBE, probe_script
from disagg_operator.plan.model import Port, RolePlan
from disagg_operator.plan.programs.source import script
from disagg_operator.platforms.profile import Meeting

JOIN = "join_leader.py"
"""Name of the program that starts the engine, and of its file among the role's."""


def met(role: RolePlan, meeting: Meeting, deployment: str, revision: str) -> RolePlan:
    """Return the role as pod groups of ``role.nodes`` pods.

    Args:
        role: the role as if one pod were one instance.
        meeting: how the engine's nodes find each other.
        deployment: name of the DisaggDeployment.
        revision: revision of the workers.
    """
    values = {"nodes": role.nodes, "port": meeting.port}
    join = ("python3", f"{CONFIG_FOLDER}/{JOIN}", str(meeting.port), str(meeting.wait_seconds))
    pod = replace(
        role.pod,
        command=(
            *join,
            *meeting.follower_arguments,
            "--",
            *role.pod.command,
            *(fill(word, values) for word in meeting.arguments),
        ),
        startup=probe_of_leader(role.pod, role.pod.startup),
        liveness=probe_of_leader(role.pod, role.pod.liveness),
        readiness=probe_of_leader(role.pod, role.pod.readiness),
    )
    files = {**role.files, JOIN: script(JOIN), PROBE: probe_script()}
    return joined(replace(role, pod=pod, files=files), Port("meeting", meeting.port), deployment, revision)
