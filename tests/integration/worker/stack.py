"""Dynamo's frontend and workers of the reference engine as real processes on loopback."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any

import httpx

MODEL = "smollm2-135m-instruct"


def free_port() -> int:
    """Find a free port; Dynamo keeps its system port in 16 signed bits, so below 32768."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")


class Stack:
    """A frontend and workers as processes that find each other through a directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.http = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.metrics_ports: dict[str, int] = {}
        self.health_ports: dict[str, int] = {}
        for name in ("home", "kv"):
            (directory / name).mkdir()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http}"

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def start(self, name: str, command: list[str], prefix: Sequence[str] = (), **extra: str) -> None:
        """Start a Python program under a name, by a command before it if so asked, with further variables."""
        environment = os.environ | {
            "HOME": str(self.directory / "home"),
            # Between pods there is no shared memory.
            "UCX_TLS": "tcp",
            "DYN_DISCOVERY_BACKEND": "file",
            "DYN_FILE_KV": str(self.directory / "kv"),
            "DYN_REQUEST_PLANE": "tcp",
            "DYN_EVENT_PLANE": "zmq",
            "DYN_NAMESPACE": "test",
            "DYN_HEALTH_CHECK_ENABLED": "true",
            "POD_NAME": name,
            **extra,
        }
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*prefix, sys.executable, *command], env=environment, stdout=log, stderr=subprocess.STDOUT
            )

    def start_frontend(self, *arguments: str, **extra: str) -> None:
        """Start Dynamo's frontend, with what it gets beside its port and namespace, and further variables."""
        command = ["-m", "dynamo.frontend", "--http-port", str(self.http), "--namespace-prefix", "test"]
        self.start("frontend", [*command, *arguments], **extra)

    def start_worker(
        self, name: str, role: str, config: Path, prefix: Sequence[str] = (), **extra: str
    ) -> None:
        self.metrics_ports[name] = port = free_port()
        self.health_ports[name] = free_port()
        command = ["-m", "disagg_worker.main", "serve", "--role", role, "--config", str(config)]
        self.start(
            name,
            [*command, "--metrics-port", str(port)],
            prefix,
            **{
                "DYN_NAMESPACE_WORKER_SUFFIX": "r1",
                "DYN_SYSTEM_PORT": str(self.health_ports[name]),
                **extra,
            },
        )

    def wait_until(self, what: str, true: Callable[[], bool], seconds: float = 240.0) -> None:
        until = time.monotonic() + seconds
        while not true():
            for name, process in self.processes.items():
                if process.poll() not in (None, 0, -signal.SIGKILL):
                    raise AssertionError(f"{name} ended while waiting for {what}:\n{self.log(name)[-4000:]}")
            if time.monotonic() > until:
                raise AssertionError(f"not within {seconds} s: {what}")
            time.sleep(0.1)

    def ready(self) -> bool:
        try:
            return bool(httpx.get(f"{self.url}/v1/models").json()["data"])
        except (httpx.HTTPError, ValueError):
            return False

    def wait_ready(self) -> None:
        self.wait_until("the model is served", self.ready)

    def chat(self, text: str, **options: Any) -> httpx.Response:
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "max_tokens": 12} | options
        return httpx.post(f"{self.url}/v1/chat/completions", json=body, timeout=100)

    def completion(self, prompt: str, **options: Any) -> AbstractContextManager[httpx.Response]:
        """Ask for the continuation of a text, as a stream."""
        body = {"model": MODEL, "prompt": prompt, "stream": True} | options
        return httpx.stream("POST", f"{self.url}/v1/completions", json=body, timeout=200)

    def metric(self, worker: str, sample: str) -> float:
        """Sum the samples of a worker's metrics whose name, or name and labels, begin with `sample`."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics_ports[worker]}/metrics").text
        return summed(text, sample)

    def router_metric(self, sample: str, label: str = "") -> float:
        """Sum the frontend's samples whose name begins with `sample`; if given, those with a label alone."""
        return summed(httpx.get(f"{self.url}/metrics").text, sample, label)

    def end(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()


def summed(text: str, begin: str, within: str = "") -> float:
    """Sum the samples of metrics in Prometheus' text form that begin so, and hold a text."""
    lines = [line for line in text.splitlines() if line.startswith(begin) and within in line]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)
