"""``kubectl disagg profile`` as a user calls it. SIMULATED: API server and nsys.

The scripts that run in a pod run in a real shell here; tests/e2e/test_e2e_2_verify.py runs them in a pod.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from disagg_operator.cli import nsys
from disagg_operator.cli.live import connection, profiling
from disagg_operator.cli.live.pod_exec import BrokenOffError, Done, ForbiddenError
from disagg_operator.cli.main import app
from disagg_operator.cli.place import Place
from disagg_operator.reconcile.kinds import POD, Kind, Object
from unit.cli.fake_cluster import FakeCluster, deployment

KNOWN = " ".join(["Usage: nsys profile", *(flag.partition("=")[0] for flag in nsys.FLAGS), nsys.IB_SWITCH])


def simulated_nsys(does: str) -> str:
    """Return a program that knows the flags of the source and, when it profiles, does something."""
    return (
        f'#!/bin/sh\n[ "$2" = --help ] && {{ echo "{KNOWN}"; exit; }}\n'
        'echo "$@" > "$ARGUMENTS"\nwhile [ "$1" != -o ]; do shift; done\nreport=$2; shift 2\n' + does
    )


REPORTS = 'head -c 300000 /dev/zero > "$report.nsys-rep"; echo Generated'


class LocalShell:
    """STAND-IN for `PodExec`: runs programs on this machine, where the pod's files are in a folder."""

    broken = 0
    refused = False
    folder = Path()

    def __init__(self, *_: Any) -> None:
        self.environment = {
            "PATH": f"{self.folder}/bin:/usr/bin:/bin",
            "TMPDIR": str(self.folder / "tmp"),
            "ARGUMENTS": str(self.folder / "arguments"),
        }

    async def close(self) -> None:
        pass

    async def text(self, *command: str) -> Done:
        output, complaint = bytearray(), bytearray()
        code = await self.run(command, output.extend, complaint.extend)
        return Done(code, output.decode(), complaint.decode())

    async def run(
        self,
        command: tuple[str, ...],
        output: Callable[[bytes], None],
        complaint: Callable[[bytes], None],
    ) -> int:
        if self.refused:
            raise ForbiddenError("no")
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command, stdout=pipe, stderr=pipe, env=self.environment
        )
        wrote, complained = await process.communicate()
        if command[0] == "tail" and type(self).broken:
            type(self).broken -= 1
            output(wrote[: len(wrote) // 2])
            raise BrokenOffError("cut")
        output(wrote)
        complaint(complained)
        return process.returncode or 0


class ClusterWithPods(FakeCluster):
    """A deployment with two decode pods, of which the second is ready."""

    ready = ("llama-decode-1",)

    async def list_page(  # type: ignore[override]
        self, kind: Kind, namespace: str, selector: str, token: str | None, limit: int
    ) -> Object:
        self._check("list", kind)
        assert (namespace, token) == ("models", None)
        assert limit > 2
        assert (kind, selector) == (POD, "disagg.dev/deployment=llama,disagg.dev/role=decode")
        return {"items": [self._pod(f"llama-decode-{index}") for index in range(2)]}

    def _pod(self, name: str) -> Object:
        status = "True" if name in self.ready else "False"
        return {
            "metadata": {"name": name},
            "spec": {"containers": [{"name": "worker"}]},
            "status": {"conditions": [{"type": "Ready", "status": status}]},
        }


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a pod whose image has an nsys that writes a report of 300 kB."""
    folder = tmp_path / "pod"
    (folder / "bin").mkdir(parents=True)
    (folder / "tmp").mkdir()
    install(folder, REPORTS)
    shell = type("Shell", (LocalShell,), {"folder": folder})
    monkeypatch.setattr(profiling, "PodExec", shell)
    monkeypatch.setattr(connection, "connect", ClusterWithPods(deployment()).connect)
    monkeypatch.chdir(tmp_path)
    return folder


def install(folder: Path, does: str) -> None:
    program = folder / "bin" / "nsys"
    program.write_text(simulated_nsys(does))
    program.chmod(0o755)


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["profile", "llama", "--seconds", "1", *arguments])


def failure(*arguments: str) -> str:
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.stderr
    return " ".join(result.stderr.split())


def test_the_report_comes_whole_and_nothing_is_left_in_the_pod(pod: Path) -> None:
    result = call()
    assert result.exit_code == 0, result.output
    report = Path("llama-decode-1.nsys-rep")
    assert report.stat().st_size == 300_000
    assert "fetching" in result.stdout
    assert f"the report is in {report}" in result.stdout
    assert not list((pod / "tmp").iterdir())
    assert [path for path in Path().iterdir() if path.suffix == ".part"] == []


def test_nsys_runs_with_the_flags_of_the_source_around_a_pause(pod: Path) -> None:
    call("--ib-switches", "0x1,0x2")
    arguments = (pod / "arguments").read_text().split()
    assert arguments[0] == "profile"
    assert arguments[1 : len(nsys.FLAGS) + 2] == [*nsys.FLAGS, "--ib-switch-metrics-device=0x1,0x2"]
    assert arguments[-2:] == ["sleep", "1"]


def test_a_connection_that_breaks_is_gone_on_from_where_it_broke(
    pod: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalShell, "broken", 2)
    result = call("--output", "here.nsys-rep")
    assert "the connection broke after 150,000 bytes" in result.stdout
    assert Path("here.nsys-rep").read_bytes() == bytes(300_000)
    assert not list((pod / "tmp").iterdir())


def test_an_image_without_nsys_is_explained(pod: Path) -> None:
    (pod / "bin" / "nsys").unlink()
    text = failure()
    assert "the image of llama-decode-1 has no nsys" in text
    assert "nsight-systems-cli" in text
    assert "spec.decode.podTemplate" in text


def test_what_nsys_says_is_passed_on_when_it_fails(pod: Path) -> None:
    install(pod, "echo 'Illegal value gds for --trace' >&2; exit 3")
    text = failure()
    assert "nsys ended with 3: Illegal value gds for --trace" in text
    assert "--flag=--sample=none" in text
    assert not list((pod / "tmp").iterdir())


def test_an_nsys_without_a_report_is_no_success(pod: Path) -> None:
    install(pod, "exit 0")
    assert "left no report" in failure()


def test_an_interruption_stops_nsys_and_removes_its_folder(pod: Path, tmp_path: Path) -> None:
    install(pod, 'echo $$ > "$ARGUMENTS"; exec sleep 60')
    told: list[str] = []

    class Teller:
        def say(self, text: str, style: str = "") -> None:  # noqa: ARG002
            told.append(text)

        def now(self, text: str) -> None:
            pass

    def started() -> bool:
        return any((pod / "tmp").glob("*/pid")) and (pod / "arguments").exists()

    async def interrupted() -> None:
        async with ClusterWithPods(deployment()).connect(Place()) as connected:
            wish = profiling.Wish("llama", "decode", "", 60)
            running = asyncio.create_task(profiling.profile(connected, wish, tmp_path / "r", Teller()))
            while not started():  # noqa: ASYNC110 - files tell it
                await asyncio.sleep(0.02)
            running.cancel()
            await asyncio.wait([running])
            assert running.cancelled()

    asyncio.run(interrupted())
    assert not list((pod / "tmp").iterdir())
    assert not (tmp_path / "r").exists()
    # It was this process's child and nobody waits for it, so that it may be there still, dead.
    number = int((pod / "arguments").read_text())
    state = Path(f"/proc/{number}/stat")
    assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"
    assert any("profiling for 60 s" in line for line in told)


@pytest.mark.usefixtures("pod")
def test_a_right_that_is_lacking_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LocalShell, "refused", True)
    assert "the RBAC verbs 'get' and 'create' on 'pods/exec'" in failure()


@pytest.mark.usefixtures("pod")
def test_pods_are_named_where_the_choice_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there are: llama-decode-0, llama-decode-1" in failure("--pod", "other")
    monkeypatch.setattr(ClusterWithPods, "ready", ())
    assert "no decode worker of llama is ready" in failure()
    assert call("--pod", "llama-decode-0").exit_code == 0
    assert Path("llama-decode-0.nsys-rep").exists()


def test_a_report_that_cannot_be_written_here_is_said(pod: Path) -> None:
    assert "none/report cannot be written: No such file or directory" in failure("--output", "none/report")
    assert not list((pod / "tmp").iterdir())


def test_flags_are_those_that_this_nsys_knows() -> None:
    newer = KNOWN.replace("--gpu-metrics-device", "--gpu-metrics-devices").replace("--gds-metrics", "")
    chosen = nsys.choose(newer)
    assert "--gpu-metrics-devices=all" in chosen.flags
    assert chosen.left_out == ("--gds-metrics=driver",)
    assert len(chosen.flags) == len(nsys.FLAGS) - 1


def test_flags_of_the_user_take_the_place_of_ours() -> None:
    chosen = nsys.choose(KNOWN, ["--sample=none", "--stats=true"])
    assert chosen.flags[-2:] == ("--sample=none", "--stats=true")
    assert "--sample=cpu" not in chosen.flags
