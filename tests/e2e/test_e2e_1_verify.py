"""``kubectl disagg verify`` and ``profile`` as a user calls them, on the whole cluster.

SIMULATED is nsys alone: a script of that name in a pod that takes no part in serving.
"""

import base64
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster_client import Kubectl, Object, eventually
from e2e.deployments import Deployment, spec
from e2e.installation import NAMESPACE, UNPRIVILEGED, Installed
from e2e.plugin import disagg
from integration.cli.program import HEEDING_CTRL_C, PROGRAM
from testcluster.session import Cluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

PROFILED, POD = "profiled", "profiled-decode-0"
BLOCK_BYTES = 30 * 2 * 3 * 16 * 64 * 4
"""SmolLM2-135M: layers, keys and values, KV heads, tokens of a block, numbers of a head, bytes of each."""
SHELL_TOOLS = ("sh", "cat", "tail", "mktemp", "wc", "rm", "sleep", "head")
"""What the scripts in a pod need; the local images, which have no shell, get this machine's."""

NSYS = """#!/tools/sh
# SIMULATED: knows two flags of the real one, and writes a report of a size that no single message holds.
if [ "$2" = --help ]; then echo "--trace --sample"; exit; fi
echo "$@" > /tmp/arguments
while [ "$1" != -o ]; do shift; done
report=$2; shift 2
"$@"
head -c 5000000 /dev/urandom > "$report.nsys-rep"
echo "Generated: $report.nsys-rep"
"""


def test_the_transport_is_proven_on_demand(cluster: Cluster, quickstart: Deployment) -> None:
    done = disagg(cluster, "verify", quickstart.name, "--timeout", "4m", "-o", "json")
    found = json.loads(done.stdout)
    assert (done.returncode, found["verified"]) == (0, "True"), done.stdout + done.stderr
    assert found["observed"] == "NIXL/UCX tcp"
    assert 0 <= found["bytes"] - found["expectedBytes"] < BLOCK_BYTES
    assert found["roles"]["decode"] == {"transport": "NIXL/UCX tcp"}
    assert "sending a canary" in done.stderr
    condition = quickstart.condition("TransportVerified")
    assert condition["status"] == "True", condition["message"]

    again = disagg(cluster, "verify", quickstart.name, "--no-run")
    assert again.returncode == 0
    assert "NIXL/UCX tcp" in again.stdout


def test_an_image_without_a_shell_is_explained(cluster: Cluster, quickstart: Deployment) -> None:
    if cluster.provider == "existing":
        pytest.skip("who knows what the images of an existing cluster have")
    done = disagg(cluster, "profile", quickstart.name, "--seconds", "1")
    assert done.returncode == 1
    assert "has no shell, and so no nsys either" in done.stderr or "has no nsys" in done.stderr


@pytest.fixture(scope="module")
def profiled(installed: Installed, namespace: str) -> Iterator[str]:
    """A paused deployment with one pod that looks like its decode worker and has the simulated nsys."""
    kubectl = installed.kubectl
    paused = spec(PROFILED)
    paused["metadata"]["annotations"] = {"disagg.dev/paused": "true"}
    kubectl.apply_to(namespace, paused)
    found = {name: shutil.which(name) for name in SHELL_TOOLS}
    tools = {name: base64.b64encode(Path(path).read_bytes()).decode() for name, path in found.items() if path}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "simulated-nsys"},
        "binaryData": tools,
        "data": {"nsys": NSYS},
    }
    # Applied on the client's side, it would be too long for the annotation that keeps the last version.
    arguments = ("apply", "--server-side", f"--namespace={namespace}", "--filename=-")
    kubectl(*arguments, stdin=json.dumps(config))
    kubectl.apply_to(namespace, pod(installed.images["worker"]))
    kubectl("wait", "--for=condition=Ready", f"pod/{POD}", f"--namespace={namespace}", "--timeout=60s")
    yield PROFILED
    kubectl("delete", "dd", PROFILED, f"--namespace={namespace}", "--wait=false")
    kubectl("delete", "pod", POD, f"--namespace={namespace}", "--grace-period=0", "--force")
    kubectl("delete", "configmap", "simulated-nsys", f"--namespace={namespace}")


def pod(image: str) -> Object:
    container = {
        "name": "worker",
        "image": image,
        "command": ["python", "-c", "import time; time.sleep(600)"],
        "env": [{"name": "PATH", "value": "/opt/venv/bin:/usr/local/bin:/usr/bin:/tools"}],
        "securityContext": UNPRIVILEGED,
        "volumeMounts": [{"name": name, "mountPath": f"/{name}"} for name in ("tools", "tmp")],
    }
    volumes = [
        {"name": "tools", "configMap": {"name": "simulated-nsys", "defaultMode": 0o555}},
        {"name": "tmp", "emptyDir": {}},
    ]
    labels = {"disagg.dev/deployment": PROFILED, "disagg.dev/role": "decode"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": POD, "labels": labels},
        "spec": {"containers": [container], "volumes": volumes, "terminationGracePeriodSeconds": 0},
    }


def in_pod(kubectl: Kubectl, script: str) -> str:
    return kubectl("exec", POD, f"--namespace={NAMESPACE}", "--", "sh", "-c", script)


FOLDERS = 'for f in /tmp/disagg-profile.*; do [ -e "$f" ] && echo "$f"; done; true'
RUNNING = 'for p in /proc/[0-9]*/cmdline; do cat "$p"; echo; done 2>/dev/null; true'


def test_a_report_is_fetched_whole_and_nothing_is_left(
    cluster: Cluster, kubectl: Kubectl, profiled: str, tmp_path: Path
) -> None:
    report = tmp_path / "decode.nsys-rep"
    done = disagg(cluster, "profile", profiled, "--seconds", "2", "--output", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert report.stat().st_size == 5_000_000
    arguments = in_pod(kubectl, "cat /tmp/arguments").split()
    assert arguments[:3] == ["profile", "--trace=cuda-hw,osrt,nvtx,ucx,gds", "--sample=cpu"]
    assert arguments[-2:] == ["sleep", "2"]
    assert "left out, as this nsys does not know them: --trace-fork-before-exec=true" in done.stdout
    assert in_pod(kubectl, FOLDERS) == ""


def test_an_interruption_stops_nsys_and_cleans_up(
    cluster: Cluster, kubectl: Kubectl, profiled: str, tmp_path: Path
) -> None:
    report = tmp_path / "decode.nsys-rep"
    command = [str(PROGRAM), "profile", profiled, "--seconds", "300", "--output", str(report)]
    where = ["--namespace", NAMESPACE, "--kubeconfig", str(cluster.kubeconfig)]
    process = subprocess.Popen(
        [*HEEDING_CTRL_C, *command, *where], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def runs() -> None:
        assert "/tools/nsys" in in_pod(kubectl, RUNNING)
        assert in_pod(kubectl, FOLDERS)

    eventually(runs, 60)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert in_pod(kubectl, FOLDERS) == ""
    assert "/tools/nsys" not in in_pod(kubectl, RUNNING)
    assert not report.exists()
