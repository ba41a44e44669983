"""The command itself, run as a process on a simulated Dynamo checkout."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from source_images.eras import FOLDER, load
from source_images.wheel import read_cache
from unit.source_images.simulated_dynamo import (
    BETA,
    EXPERIMENTAL,
    SimulatedDynamo,
    make_dynamo,
    make_wheel,
    programs,
)

Run = Callable[..., subprocess.CompletedProcess[str]]
FLAGS = (
    "--framework trtllm --use-default-experimental-tensorrtllm-commit --trtllm-use-nixl-kvcache-experimental"
)


@pytest.fixture
def dynamo(tmp_path: Path) -> SimulatedDynamo:
    return make_dynamo(tmp_path / "dynamo", EXPERIMENTAL, "v0.6.0")


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """A cache whose wheel was built without NIXL."""
    make_wheel(tmp_path / "wheels/tensorrt_llm-1-cp312.whl", nixl=False)
    return tmp_path / "wheels"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Simulated: Docker and git-lfs answer. Logs go into the test's folder."""
    names = programs(tmp_path / "bin", "docker", "git-lfs")
    return {**names, "PYTHONPATH": str(FOLDER / "src"), "DISAGG_CACHE": str(tmp_path / "cache")}


@pytest.fixture
def run(environment: dict[str, str], dynamo: SimulatedDynamo, wheels: Path) -> Run:
    def build(*arguments: str, era: str = "2025-experimental") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "source_images", "build", era, "--arch", "amd64", "--no-disk-check"]
        command += ["--dynamo", str(dynamo.folder), "--wheel-dir", str(wheels), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return build


def test_a_dry_run_prints_the_commands_in_order_and_does_nothing(
    run: Run, dynamo: SimulatedDynamo, wheels: Path
) -> None:
    done = run("--dry-run")
    assert done.returncode == 0, done.stderr
    commands = [line for line in done.stdout.splitlines() if line and not line.startswith("#")]
    assert commands[:2] == [
        f"rm -rf {wheels}",
        f"(cd {dynamo.folder} && ./container/build.sh {FLAGS} --tensorrtllm-pip-wheel-dir {wheels})",
    ]
    assert "it was built without NIXL" in done.stdout
    assert dynamo.recorded() == []
    assert read_cache(wheels).commit == ""


def test_what_a_dry_run_prints_does_the_same_when_pasted(
    run: Run, environment: dict[str, str], dynamo: SimulatedDynamo, wheels: Path
) -> None:
    script = run("--dry-run").stdout
    pasted = subprocess.run(
        ["sh", "-e"], input=script, env=environment, capture_output=True, text=True, check=False
    )
    assert pasted.returncode == 0, pasted.stderr
    assert dynamo.recorded() == [f"{FLAGS} --tensorrtllm-pip-wheel-dir {wheels}"]
    assert read_cache(wheels).stamp is not None


def test_a_real_run_removes_builds_checks_and_says_what_to_write(
    run: Run, dynamo: SimulatedDynamo, wheels: Path, tmp_path: Path
) -> None:
    done = run("--tag", "registry.example/trtllm:1")
    assert done.returncode == 0, done.stderr
    assert dynamo.recorded() == [
        f"{FLAGS} --tag registry.example/trtllm:1 --tensorrtllm-pip-wheel-dir {wheels}"
    ]
    stamp = read_cache(wheels).stamp
    assert stamp is not None
    assert stamp.flags == FLAGS.split()[2:]
    assert "✓ 3/3" in done.stderr
    assert 'version: "0.6.0"' in done.stdout
    assert "image: registry.example/trtllm:1" in done.stdout
    assert "etcd and NATS must run before the workers start." in done.stdout
    log = tmp_path / "cache/logs/image-trtllm-2025-experimental-amd64.log"
    assert "./container/build.sh" in log.read_text()


def test_a_second_run_keeps_the_wheel_that_the_first_one_made(run: Run, wheels: Path) -> None:
    run()
    again = run()
    assert f"{wheels} is kept" in again.stderr
    assert "rm -rf" not in run("--dry-run").stdout
    assert read_cache(wheels).stamp is not None


def test_a_failed_step_is_named_with_its_reason_and_its_log(
    run: Run, dynamo: SimulatedDynamo, tmp_path: Path
) -> None:
    (dynamo.folder / "broken").touch()
    done = run()
    assert done.returncode == 1
    assert "Step 2/3 failed: Build the image" in done.stderr
    assert "Failed to build TensorRT-LLM wheel" in done.stderr
    assert f"Log: {tmp_path}/cache/logs/image-trtllm-2025-experimental-amd64.log" in done.stderr


def test_a_build_that_forgot_nixl_is_no_success(run: Run, dynamo: SimulatedDynamo) -> None:
    make_wheel(dynamo.folder / "tensorrt_llm-1-cp312.whl", nixl=False)
    done = run()
    assert done.returncode == 1
    assert "Step 3/3 failed: Check that the wheel has NIXL" in done.stderr


def test_nothing_starts_while_docker_is_missing(
    run: Run, dynamo: SimulatedDynamo, wheels: Path, tmp_path: Path
) -> None:
    (tmp_path / "bin/docker").write_text("#!/bin/sh\nexit 1\n")
    done = run()
    assert done.returncode == 1
    assert "no Docker answers, which build.sh calls" in done.stderr
    assert dynamo.recorded() == []
    assert wheels.exists()
    dry = run("--dry-run")
    assert dry.returncode == 0
    assert "A real run would stop here: no Docker answers" in dry.stdout


def test_the_outcome_can_be_read_by_a_shell(run: Run) -> None:
    assert run("--print-env").stdout.splitlines() == [
        "RUNTIME_IMAGE=dynamo:latest-trtllm",
        "RUNTIME_VERSION=0.6.0",
        "TRANSFER_METHOD=NIXL",
    ]


def test_a_checkout_of_another_era_is_refused_before_anything_is_done(
    run: Run, tmp_path: Path, wheels: Path
) -> None:
    newer = make_dynamo(tmp_path / "newer", BETA, "v0.7.0")
    done = run("--dynamo", str(newer.folder))
    assert done.returncode == 1
    assert f"build.sh of {newer.folder} (v0.7.0) does not know" in done.stderr
    assert "ERA=2025-beta, which this checkout fits" in done.stderr
    assert wheels.exists()


def test_the_efa_containerfile_takes_the_arguments_that_the_plan_gives() -> None:
    text = (FOLDER / "efa/Containerfile").read_text()
    for argument in ("BASE_IMAGE", "EFA_INSTALLER_VERSION", "LIBFABRIC_VERSION"):
        assert f"ARG {argument}" in text
    for script in ("install-sdk", "compile", "install-compiled"):
        assert f"source={script}," in text
        subprocess.run(["sh", "-n", str(FOLDER / "efa" / script)], check=True)


def test_the_eras_are_listed(environment: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "source_images", "eras"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(name in done.stdout for name in load().names())
