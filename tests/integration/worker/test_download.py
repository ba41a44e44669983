"""`disagg-worker download` with the real client of the hub against a simulated hub."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.simulated_hub import TOKEN, Repository, SimulatedHub

NAME = "acme/tiny"
WEIGHTS = "model.safetensors"
PROGRAM = """
import sys
from pathlib import Path
from disagg_worker.download import command, place
message, seconds, *arguments = sys.argv[1:]
command.MESSAGE = Path(message)
repository, directory, revision, endpoint, *patterns = arguments
sys.exit(command.run(repository, Path(directory), revision=revision or None, endpoint=endpoint,
                     patterns=patterns, message=Path(message), seconds=float(seconds)))
"""
Fetch = Callable[..., "Result"]


class Result:
    """How a download ended."""

    def __init__(self, done: "subprocess.CompletedProcess[str]", message: Path) -> None:
        self.code, self.log = done.returncode, done.stdout + done.stderr
        self.told: dict[str, Any] = json.loads(message.read_text())["download"] if message.exists() else {}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository with 3 MB of weights, and further copies of them."""
    folder = tmp_path / "repository"
    (folder / "original").mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(os.urandom(3_000_000))
    (folder / "pytorch_model.bin").write_bytes(bytes(1000))
    (folder / "original" / "consolidated.00.pth").write_bytes(bytes(1000))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    return Repository(folder)


@pytest.fixture
def hub(repository: Repository) -> Iterator[SimulatedHub]:
    """The hub with this repository."""
    server = SimulatedHub({NAME: repository}, ("127.0.0.1", 0))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def start(
    folder: Path,
    endpoint: str,
    *,
    name: str = NAME,
    revision: str = "",
    token: str = "",
    patterns: tuple[str, ...] = (),
) -> tuple["subprocess.Popen[str]", Path]:
    """Start a download as a container would, and return it with the file of its termination message."""
    message = folder.parent / f"message-{time.monotonic_ns()}"
    environment = {**os.environ, "HF_HOME": str(folder.parent / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment.pop("HF_TOKEN", None)
    if token:
        environment["HF_TOKEN"] = token
    command = [
        sys.executable,
        "-c",
        PROGRAM,
        str(message),
        "0.1",
        name,
        str(folder),
        revision,
        endpoint,
        *patterns,
    ]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return process, message


def finish(started: tuple["subprocess.Popen[str]", Path]) -> Result:
    process, message = started
    output, _ = process.communicate(timeout=120)
    return Result(subprocess.CompletedProcess(process.args, process.returncode, output, ""), message)


def fetch(folder: Path, endpoint: str, **options: Any) -> Result:
    return finish(start(folder, endpoint, **options))


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_model_is_whole_without_further_copies_of_its_weights(
    hub: SimulatedHub, repository: Repository, tmp_path: Path
) -> None:
    folder = tmp_path / "cache" / "tiny"
    result = fetch(folder, hub.url)
    assert result.code == 0, result.log
    assert names(folder) == {WEIGHTS, "config.json", "tokenizer.json", ".disagg-model.json"}
    assert (folder / WEIGHTS).read_bytes() == (repository.directory / WEIGHTS).read_bytes()
    assert all(path.stat().st_mode & 0o444 == 0o444 for path in folder.iterdir()), "engines have other users"
    assert result.told["reason"] == "Fetched"
    assert result.told["commit"] == repository.commit


def test_the_second_time_nothing_is_asked_of_the_hub(hub: SimulatedHub, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tiny"
    assert fetch(folder, hub.url).code == 0
    hub.asked.clear()
    result = fetch(folder, "http://127.0.0.1:9")
    assert result.code == 0, result.log
    assert not hub.asked
    assert "already" in result.log


def test_files_can_be_chosen(hub: SimulatedHub, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tiny"
    assert fetch(folder, hub.url, patterns=("original/*", "*.json")).code == 0
    assert names(folder) - {".disagg-model.json"} == {
        "original/consolidated.00.pth",
        "config.json",
        "tokenizer.json",
    }


def test_what_matches_nothing_is_told(hub: SimulatedHub, tmp_path: Path) -> None:
    result = fetch(tmp_path / "cache" / "tiny", hub.url, patterns=("*.gguf",))
    assert (result.code, result.told["reason"]) == (1, "NoFiles")
    assert "*.gguf" in result.told["says"]


@pytest.mark.parametrize(
    "case",
    [
        ({"gated": True}, {}, "ModelGated", "name a Secret with a token"),
        ({"private": True}, {}, "ModelNotFound", "if it is private, name a Secret"),
        ({}, {"name": "acme/other"}, "ModelNotFound", "shows no repository acme/other"),
        ({}, {"name": "acme/other", "token": TOKEN}, "ModelNotFound", "give the token's account access"),
        ({}, {"revision": "v9"}, "RevisionNotFound", "has no revision v9"),
        ({}, {"token": "hf_wrong"}, "TokenRefused", "refuses the token"),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: SimulatedHub,
    repository: Repository,
    tmp_path: Path,
    case: tuple[dict[str, bool], dict[str, str], str, str],
) -> None:
    changes, options, reason, says = case
    for name, value in changes.items():
        setattr(repository, name, value)
    result = fetch(tmp_path / "cache" / "tiny", hub.url, **options)
    assert (result.code, result.told.get("reason")) == (1, reason), result.log
    assert says in result.told["says"]
    assert "hf_" not in result.log


@pytest.mark.parametrize("kind", ["gated", "private"])
def test_a_token_opens_what_is_closed_and_is_never_logged(
    hub: SimulatedHub, repository: Repository, tmp_path: Path, kind: str
) -> None:
    setattr(repository, kind, True)
    result = fetch(tmp_path / "cache" / "tiny", hub.url, token=TOKEN)
    assert result.code == 0, result.log
    assert hub.tokens == {TOKEN}
    assert TOKEN not in result.log


def test_a_hub_that_does_not_answer_is_told(tmp_path: Path) -> None:
    result = fetch(tmp_path / "cache" / "tiny", "http://127.0.0.1:9")
    assert (result.code, result.told["reason"]) == (1, "HubUnreachable")
    assert "endpoint" in result.told["says"]


def test_a_broken_connection_is_taken_up_where_it_broke(
    hub: SimulatedHub, repository: Repository, tmp_path: Path
) -> None:
    # The library writes pieces of 10 MB: what it has of the next one goes with the connection.
    (repository.directory / WEIGHTS).write_bytes(os.urandom(25_000_000))
    repository.break_after[WEIGHTS] = 12_000_000
    folder = tmp_path / "cache" / "tiny"
    result = fetch(folder, hub.url)
    assert result.code == 0, result.log
    (resumed,) = hub.ranges
    assert resumed.startswith(f"{WEIGHTS} bytes=")
    assert not resumed.startswith(f"{WEIGHTS} bytes=0-")
    assert (folder / WEIGHTS).read_bytes() == (repository.directory / WEIGHTS).read_bytes()


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_download_that_is_ended_keeps_the_files_that_had_arrived(
    hub: SimulatedHub, repository: Repository, tmp_path: Path, how: signal.Signals
) -> None:
    (repository.directory / "second.safetensors").write_bytes(os.urandom(1_000_000))
    folder = tmp_path / "cache" / "tiny"
    repository.hold.clear()
    started = start(folder, hub.url)
    partial = folder.with_name(".tiny.partial")
    # A request that was sent but not yet heard of would be counted with those of the next process.
    until(lambda: hub.fetched(WEIGHTS) == hub.fetched("second.safetensors") == 1)
    until(lambda: any(partial.rglob("config.json.metadata")) and any(partial.rglob("*.incomplete")))
    started[0].send_signal(how)
    finish(started)
    assert not folder.exists()
    repository.hold.set()
    hub.asked.clear()
    result = fetch(folder, hub.url)
    assert result.code == 0, result.log
    assert hub.fetched("config.json") == 0
    assert hub.fetched(WEIGHTS) == 1
    assert not list(folder.rglob("*.incomplete"))


def test_two_pods_of_a_node_fetch_once(hub: SimulatedHub, repository: Repository, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tiny"
    repository.hold.clear()
    first = start(folder, hub.url)
    until(lambda: hub.fetched(WEIGHTS) == 1)
    second = start(folder, hub.url)
    time.sleep(0.5)  # it cannot be told from outside that it waits; it is wrong if it fetches now or later
    repository.hold.set()
    results = finish(first), finish(second)
    assert [result.code for result in results] == [0, 0], [result.log for result in results]
    assert {name: hub.fetched(name) for name in (WEIGHTS, "config.json")} == {WEIGHTS: 1, "config.json": 1}
    assert len({result.told["commit"] for result in results}) == 1


def test_progress_is_told_in_bytes_and_percent(
    hub: SimulatedHub, repository: Repository, tmp_path: Path
) -> None:
    repository.hold.clear()
    started = start(tmp_path / "cache" / "tiny", hub.url)
    until(lambda: hub.fetched(WEIGHTS) == 1)
    time.sleep(0.5)
    repository.hold.set()
    result = finish(started)
    assert result.code == 0, result.log
    assert "of 3.0 MB, " in result.log


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that takes a moment."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)
