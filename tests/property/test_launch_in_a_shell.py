"""The scripts of a pod group, run by a real shell with hostile arguments and variables, and stub programs.

The stubs write down what they are given. What mpirun starts in the end must see each argument and each
variable as it was, and nothing may run that was not meant to.
"""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.launch.scripts import KEY_FOLDER, WORK_FOLDER
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of

HOSTILE = (
    "'\"`",
    '"; touch pwned; "',
    "$(touch pwned)",
    "`touch pwned`",
    "${IFS}touch${IFS}pwned",
    "&& touch pwned #",
    "| touch pwned",
    "a b  c\td",
    "*",
    "~",
    "\\",
    '\\\\"',
    "\u2028\u0085\u202e",
    "-x",
    "--help",
    "key=value",
    "",
)
LINES = "line one\nPermitRootLogin yes\n$(touch pwned)"
"""sshd_config has no place for it; a variable that all ranks share may hold it."""
RECORD = """#!/usr/bin/env python3
import json, os, sys
json.dump([sys.argv[1:], dict(os.environ)], open(os.environ["RECORD"], "w"))
"""
STUBS = {
    "mpirun": """#!/usr/bin/env bash
if [[ $1 == --version ]]; then echo "mpirun (Open MPI) 4.1.6"; exit; fi
printf '%s\\0' "$@" >"$RECORD.mpirun"
while [[ $1 != bash ]]; do shift; done
exec "$@"
""",
    "ssh": "#!/usr/bin/env bash\n",
    "getent": "#!/usr/bin/env bash\n",
    "sshd": "#!/usr/bin/env bash\n",
    "engine": RECORD,
}


def launch_scripts() -> dict[str, str]:
    """Return the files of TensorRT-LLM workers on two nodes."""
    role = {"nodesPerReplica": 2, "parallelism": {"tensor": 16}}
    resource = deployment_of({"platform": "infiniband", "decode": role, "prefill": role})
    return dict(plan(accept(resource), Installation("worker:test")).roles["decode"].files)


@pytest.fixture
def pod(tmp_path: Path) -> Path:
    """A folder with the scripts, a key and the stubs, as a pod has them."""
    for name, text in launch_scripts().items():
        here = text.replace(KEY_FOLDER, f"{tmp_path}/key").replace(WORK_FOLDER, f"{tmp_path}/work")
        (tmp_path / name).write_text(here)
    (tmp_path / "key").mkdir()
    for name in ("ssh-privatekey", "ssh-publickey"):
        (tmp_path / "key" / name).write_text("key\n")
    (tmp_path / "bin").mkdir()
    for name, text in STUBS.items():
        stub = tmp_path / "bin" / name
        stub.write_text(text)
        stub.chmod(0o755)
    (tmp_path / "here").mkdir()
    return tmp_path


def run(pod: Path, rank: int, arguments: tuple[str, ...], **variables: str) -> None:
    environment = {
        "PATH": f"{pod}/bin:{os.environ['PATH']}",
        "HOSTNAME": "demo-0",
        "DISAGG_NODE_RANK": str(rank),
        "DISAGG_LEADER": "demo-0.all",
        "RECORD": str(pod / "record"),
        **variables,
    }
    subprocess.run(
        ["bash", str(pod / "launch.sh"), *arguments],
        env=environment,
        cwd=pod / "here",
        check=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert list((pod / "here").iterdir()) == [], "something ran that was not meant to"


def test_the_engine_gets_each_argument_and_variable_as_it_was(pod: Path) -> None:
    variables = {f"HOSTILE_{index}": text for index, text in enumerate((*HOSTILE, LINES))}
    run(pod, 0, ("engine", *HOSTILE, LINES), **variables)
    arguments, seen = json.loads((pod / "record").read_text())
    assert arguments == [*HOSTILE, LINES]
    assert {name: seen[name] for name in variables} == variables
    given = (pod / "record.mpirun").read_text().split("\0")
    passed = {given[at + 1] for at, word in enumerate(given) if word == "-x"}
    assert set(variables) <= passed, "variables go by name, so that no value is part of a command line"


@pytest.mark.parametrize("text", HOSTILE)
def test_sshd_gets_each_variable_of_a_pod_as_it_was(pod: Path, text: str) -> None:
    run(pod, 1, ("engine",), LD_LIBRARY_PATH=f"/opt/{text}", POD_IP=text)
    lines = (pod / "work" / "sshd_config").read_text().split("\n")
    (given,) = [line for line in lines if line.startswith("SetEnv")]
    assert given == lines[-2], "nothing follows it"
    # sshd splits its configuration as a POSIX shell does within double quotes, but for variables.
    words = dict(word.split("=", 1) for word in shlex.split(given)[1:])
    assert (words["LD_LIBRARY_PATH"], words["POD_IP"]) == (f"/opt/{text}", text)


def test_scripts_hold_no_text_of_the_resource() -> None:
    plain = launch_scripts()
    resource = deployment_of(
        {
            "model": {"name": "zqmark", "source": {"huggingFace": {"repository": "zqmark/m"}}},
            "platform": "infiniband",
            "env": [{"name": "ZQMARK", "value": "zqmark"}],
            "decode": {"nodesPerReplica": 2, "parallelism": {"tensor": 16}},
            "prefill": {"parallelism": {"tensor": 8}},
        }
    )
    files = plan(accept(resource), Installation("worker:test")).roles["decode"].files
    for name, text in files.items():
        if name.endswith((".sh", ".py")):
            assert "zqmark" not in text.lower()
            assert name in plain
