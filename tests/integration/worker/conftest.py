"""Real parts for the worker's tests: the model, NIXL, worker processes and Dynamo's frontend, on loopback."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from disagg_worker.prepare import prepare_model
from integration.worker.stack import MODEL, Stack

HERE = Path(__file__).parent
# Between pods there is no shared memory; without this, processes of one host would not use TCP.
os.environ["UCX_TLS"] = "tcp"


class Child:
    """A process that answers JSON lines with JSON lines; `prefix` is a command that starts it."""

    def __init__(self, arguments: list[str], prefix: Sequence[str] = ()) -> None:
        self.process = subprocess.Popen(
            [*prefix, sys.executable, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def tell(self, command: dict[str, Any]) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()

    def hear(self) -> dict[str, Any]:
        """Wait for the next answer; NIXL's own log lines are passed over."""
        assert self.process.stdout
        while line := self.process.stdout.readline():
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise AssertionError(f"the process ended with {self.process.wait()}")

    def ask(self, command: dict[str, Any]) -> dict[str, Any]:
        self.tell(command)
        return self.hear()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        if self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


@pytest.fixture
def start_child() -> Iterator[Callable[..., Child]]:
    with ExitStack() as stack:

        def start(arguments: list[str], prefix: Sequence[str] = ()) -> Child:
            child = Child(arguments, prefix)
            stack.callback(child.end)
            return child

        yield start


@pytest.fixture(scope="session")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("model") / MODEL
    prepare_model(out)
    return out


@pytest.fixture(scope="session")
def engine_yaml(model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    def write(**sections: dict[str, Any]) -> Path:
        document = {
            "model": {"path": str(model_dir), "name": MODEL},
            "compute": {"threads": 1},
            **sections,
        }
        path = tmp_path_factory.mktemp("config") / "engine.yaml"
        path.write_text(yaml.safe_dump(document))
        return path

    return write


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = Stack(tmp_path_factory.mktemp("stack"))
    try:
        yield running
    finally:
        running.end()
