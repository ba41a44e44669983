"""The launch scripts, run for real: ssh and mpirun start the ranks of a group, which ends as a whole."""

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.build.objects import worker_objects
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.launch.scripts import WORK_FOLDER
from disagg_operator.plan.model import DECODE, PREFILL
from disagg_operator.plan.planner import plan
from disagg_operator.plan.programs.watch_output import WEDGED
from disagg_operator.reconcile.applying.ssh_keys import new_key
from e2e.launch.pods import USER, Group, Object
from testcluster.console import Progress
from testcluster.paths import default_paths
from testcluster.requirements import MPI_PACKAGES, ensure_packages, require_rights
from unit.plan.worker_files import worker_files

PLUGINS = "/usr/local/lib/python3.12/dist-packages/tensorrt_llm/libs/nixl/plugins"
"""https://docs.nvidia.com/dynamo/latest/backends/trtllm/kv-cache-transfer.html, ABI mismatch on decode."""
PLUGINS_OF_THE_IMAGE = "/opt/nixl/plugins"
ODD = "two  words, a \"quote\", a 'quote', $HOME and a \\"


@pytest.fixture(scope="module", autouse=True)
def machine() -> None:
    """Rights to make networks, ssh and Open MPI."""
    require_rights()
    ensure_packages(MPI_PACKAGES, default_paths(), Progress())


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that all pods see and may write to, with the stand-ins for TensorRT-LLM."""
    folder = Path(f"/var/tmp/disagg-launch-{time.monotonic_ns()}")  # noqa: S108 - the pods have a /tmp of their own
    programs = folder / "bin"
    programs.mkdir(parents=True)
    for name in ("trtllm-llmapi-launch", "python3"):
        program = programs / name
        simulated = Path(__file__).with_name("trtllm.py").read_text()
        program.write_text(f"#!/usr/bin/python3\n{simulated}")
        program.chmod(0o755)
    (folder / "reports").mkdir()
    (folder / "reports").chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def objects(role: str) -> tuple[Object, dict[str, str]]:
    """Return StatefulSet and files of a role with two nodes of two GPUs."""
    spec: dict[str, Any] = {"nodesPerReplica": 2, "parallelism": {"tensor": 4}}
    resource = {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "demo"},
        "spec": {
            "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
            "platform": "aws-p5.48xlarge",
            "runtime": {"engine": "trtllm"},
            "prefill": spec,
            "decode": spec,
            "env": [{"name": "ODD", "value": ODD}, {"name": "UCX_LOG_LEVEL", "value": "info"}],
        },
    }
    made = worker_objects(plan(accept(resource), Installation("worker:test")))
    (stateful_set,) = [
        obj
        for obj in made
        if obj["kind"] == "StatefulSet" and obj["metadata"]["labels"]["disagg.dev/role"] == role
    ]
    return stateful_set, worker_files(made, role)


@pytest.fixture
def make_group(shared: Path) -> Callable[..., Group]:
    """A maker of groups, with nothing started yet."""

    def make(role: str, user: int = USER, path: str = "/usr/bin:/bin") -> Group:
        stateful_set, files = objects(role)
        image = {
            "PATH": f"{shared}/bin:{path}",
            "REPORTS": f"{shared}/reports",
            "NIXL_PLUGIN_DIR": PLUGINS_OF_THE_IMAGE,
            "SET_BY_THE_IMAGE": "yes",
        }
        root = shared / "group"
        root.mkdir()
        return Group(stateful_set, files, new_key(), image, root, user)

    return make


def eventually(check: Callable[[], object], what: str, group: Group, seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not check():
        logs = "\n".join(f"{log.name}:\n{log.read_text()}" for log in group.root.glob("*.log"))
        assert time.monotonic() < end, f"not within {seconds} s: {what}\n{logs}"
        time.sleep(0.1)


def start(group: Group) -> None:
    for rank in range(group.nodes):
        group.resolve(rank)
        group.start(rank)


def reports(shared: Path) -> dict[int, dict[str, str]]:
    return {
        int(path.stem.removeprefix("rank-")): json.loads(path.read_text())
        for path in (shared / "reports").glob("rank-*.json")
    }


@pytest.mark.parametrize(("role", "plugins"), [(DECODE, PLUGINS), (PREFILL, PLUGINS_OF_THE_IMAGE)])
def test_every_rank_is_given_what_the_container_is_given(
    make_group: Callable[..., Group], shared: Path, role: str, plugins: str
) -> None:
    with make_group(role) as group:
        start(group)
        eventually(lambda: len(reports(shared)) == 4, "four ranks report", group)
        expected = group.variables(0)
        for rank, seen in reports(shared).items():
            node = rank // 2
            assert seen["UNAME"] == group.pod(node), "ranks fill one node after the other"
            assert seen["NIXL_PLUGIN_DIR"] == plugins
            wrong = {
                name: (seen.get(name), value)
                for name, value in group.variables(node).items()
                if seen.get(name) != value
            }
            assert not wrong, f"rank {rank}: {wrong}"
        assert {"ODD", "FI_PROVIDER", "LD_LIBRARY_PATH", "SET_BY_THE_IMAGE", "HOME"} <= expected.keys()
        assert expected["ODD"] == ODD
        assert expected["POD_IP"] != group.variables(1)["POD_IP"]


def test_probes_ask_the_leader_by_http_and_the_others_for_sshd(make_group: Callable[..., Group]) -> None:
    with make_group(DECODE) as group:
        group.resolve(1)
        group.start(1)
        eventually(lambda: group.probe(1, "readinessProbe"), "sshd listens", group)
        group.start(0)
        eventually(lambda: group.inside(0, "true"), "the leader's pod is there", group)
        assert not group.probe(0, "readinessProbe"), "no rank runs before the leader has an address"
        assert not group.probe(0, "livenessProbe")
        group.resolve(0)
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            eventually(partial(group.probe, 0, kind), f"{kind} of the leader", group)


def test_asked_to_end_the_engine_finishes_its_requests_and_all_pods_end(
    make_group: Callable[..., Group], shared: Path
) -> None:
    with make_group(DECODE) as group:
        start(group)
        eventually(lambda: group.probe(0, "readinessProbe"), "the leader serves", group)
        # The kubelet tells all pods of a deleted group at once.
        group.terminate(1)
        group.terminate(0)
        assert group.ended(0, 20) == 0
        assert group.ended(1, 20) == 0
        assert "--disaggregation-mode decode" in (shared / "reports/drained").read_text()


def test_an_engine_that_says_it_is_broken_ends_its_group(
    make_group: Callable[..., Group], shared: Path
) -> None:
    with make_group(DECODE) as group:
        start(group)
        eventually(lambda: group.probe(0, "readinessProbe"), "the leader serves", group)
        (shared / "reports/poison").touch()
        assert group.ended(0, 60) == WEDGED
        group.ended(1, 60)
        assert (shared / "reports/drained").exists(), "it finishes its requests first"
        assert "its log says: " in group.log(0).read_text()


def test_pods_without_ranks_end_at_once(make_group: Callable[..., Group]) -> None:
    with make_group(DECODE) as group:
        group.resolve(0)
        group.start(0)
        group.start(1)
        eventually(lambda: group.probe(1, "readinessProbe"), "sshd listens", group)
        eventually(lambda: group.inside(0, "test", "-e", f"{WORK_FOLDER}/hosts"), "rank 0 waits", group)
        began = time.monotonic()
        for rank in (0, 1):
            group.terminate(rank)
            group.ended(rank, 20)
        assert time.monotonic() - began < 15


def test_a_node_that_vanishes_without_a_word_is_noticed(make_group: Callable[..., Group]) -> None:
    with make_group(DECODE) as group:
        start(group)
        eventually(lambda: group.probe(0, "readinessProbe"), "the leader serves", group)
        group.unplug(1)
        # Three questions, 15 s apart, without an answer.
        group.ended(0, 70)
        group.ended(1, 40)


@pytest.mark.parametrize(("dies", "other"), [(0, 1), (1, 0)], ids=["leader", "follower"])
def test_a_dead_node_ends_the_others_which_start_again(
    make_group: Callable[..., Group], shared: Path, dies: int, other: int
) -> None:
    with make_group(DECODE) as group:
        start(group)
        eventually(lambda: group.probe(0, "readinessProbe"), "the leader serves", group)
        group.kill(dies)
        group.ended(other, 30)
        for report in (shared / "reports").iterdir():
            report.unlink()
        group.start(other)
        group.start(dies)
        eventually(lambda: len(reports(shared)) == 4, "four ranks report again", group)


def test_the_leader_waits_with_a_limit_and_says_for_whom(make_group: Callable[..., Group]) -> None:
    with make_group(DECODE) as group:
        group.resolve(0)
        script = group.root / "files/launch.sh"
        script.write_text(script.read_text().replace("wait_seconds=900", "wait_seconds=2"))
        group.start(0)
        assert group.ended(0, 20) == 1
        assert f"rank 1: {group.pod(1)}." in group.log(0).read_text()
        assert "has no address after 2 s" in group.log(0).read_text()
        group.resolve(1)
        group.start(0)
        assert group.ended(0, 20) == 1
        assert "does not answer on port 2222" in group.log(0).read_text()


def test_another_key_does_not_let_in(make_group: Callable[..., Group]) -> None:
    with make_group(DECODE) as group:
        group.resolve(0)
        group.resolve(1)
        group.start(1)
        eventually(lambda: group.probe(1, "readinessProbe"), "sshd listens", group)
        for name, text in new_key().items():
            (group.root / "key" / name).write_text(text)
        group.start(0)
        assert group.ended(0, 30) != 0
        assert "Host key verification failed" in group.log(0).read_text()


def test_root_may_run_it_too(make_group: Callable[..., Group], shared: Path) -> None:
    with make_group(DECODE, user=0) as group:
        start(group)
        eventually(lambda: len(reports(shared)) == 4, "four ranks report", group)


def test_open_mpi_5_starts_and_ends_the_ranks_as_well(make_group: Callable[..., Group], shared: Path) -> None:
    programs = Path(sys.executable).parent
    # The checkout may lie where only root may look.
    with make_group(DECODE, user=0, path=f"{programs}:/usr/bin:/bin") as group:
        start(group)
        eventually(lambda: len(reports(shared)) == 4, "four ranks report", group)
        assert "PRTE_SHARED_FS" in reports(shared)[0], "PRRTE started them, which came with Open MPI 5"
        for rank, seen in reports(shared).items():
            node = rank // 2
            assert seen["UNAME"] == group.pod(node)
            expected = group.variables(node)
            # This mpirun puts its own libraries before what it was given.
            assert seen.pop("LD_LIBRARY_PATH").endswith(expected.pop("LD_LIBRARY_PATH"))
            assert expected.items() <= seen.items()
        eventually(partial(group.probe, 0, "readinessProbe"), "the leader serves", group)
        group.kill(1)
        group.ended(0, 30)


def test_mpirun_s_libraries_are_found_though_the_platform_names_other_folders(
    make_group: Callable[..., Group], shared: Path
) -> None:
    # SIMULATED: programs that start only where their libraries are found, as those below /opt/hpcx/ompi do.
    folder = shared / "hpcx"
    (folder / "lib").mkdir(parents=True)
    (folder / "bin").mkdir()
    for name in ("mpirun", "orted"):
        program = folder / "bin" / name
        program.write_text(
            "#!/bin/bash\n"
            f"[[ :$LD_LIBRARY_PATH: == *:{folder}/lib:* ]] || exit 127\n"
            f'exec /usr/bin/{name} "$@"\n'
        )
        program.chmod(0o755)
    with make_group(DECODE, path=f"{folder}/bin:/usr/bin:/bin") as group:
        start(group)
        eventually(lambda: len(reports(shared)) == 4, "four ranks report", group)
        given = group.variables(0)["LD_LIBRARY_PATH"]
        assert given == "/opt/amazon/efa/lib:/usr/local/lib:/usr/lib"
        for seen in reports(shared).values():
            # What mpirun itself puts before it is the library folder of the program that is run in the end.
            assert seen["LD_LIBRARY_PATH"].removeprefix("/usr/lib:") == f"{given}:{folder}/lib"


def test_an_image_without_mpirun_is_told(make_group: Callable[..., Group], shared: Path) -> None:
    programs = shared / "few"
    programs.mkdir()
    for name in ("bash", "dirname", "sed", "cat", "cp", "mkdir", "rm", "grep", "getent", "setpriv"):
        (programs / name).symlink_to(shutil.which(name) or name)
    with make_group(DECODE, path=str(programs)) as group:
        group.start(0)
        assert group.ended(0, 10) == 1
        assert "needs Open MPI 4 or 5, and this image has: none" in group.log(0).read_text()
