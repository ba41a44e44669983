"""What the verdict says of KV reads between two GPUs of one host, by the evidence that each leaves.

Needs two NVIDIA GPUs, torch, nixl and iproute2, and root: each side runs in a network namespace of its own,
as it would in a pod. The same read is made as UCX chooses, without cuda_ipc, and over TCP alone. The rates
stand beside the copy engine's in the same run. Run: `make bench-gpu-transport`.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from bench.side import Side
from bench.transport import gpu_side
from disagg_operator.api.transport import Promise, Transport
from disagg_operator.verify.canary import Answer, Canary
from disagg_operator.verify.evidence import Evidence, Model
from disagg_operator.verify.judge import judge
from disagg_operator.verify.kv import bytes_per_token
from disagg_operator.verify.logs import findings
from disagg_operator.verify.paths import DECODE, PREFILL, Window

LLAMA_70B = Model(layers=80, kv_heads=8, head_dim=128, dtype="bfloat16")
TOKENS = 2048
QUIET_SECONDS = 1.0
SIDES = {PREFILL: "10.213.7.1", DECODE: "10.213.7.2"}
TELEMETRY_PORT = 9090
CHOICES = {
    "as UCX chooses": {},
    "without cuda_ipc": {"UCX_TLS": "^cuda_ipc"},
    "TCP alone": {"UCX_TLS": "tcp,cuda_copy"},
}
"""Environment of both sides by what it stands for."""


@dataclass(frozen=True)
class Row:
    """What one choice gave.

    Attributes:
        choice: environment of both sides.
        label: transport by the verdict.
        verified: whether a platform that promises NVLink keeps its promise.
        reason: stable word.
        message: sentence.
        confidence: how good the evidence is.
        bytes: bytes that moved by the verdict.
        expected: bytes of KV cache that had to.
        gigabytes_per_second: rate of the read.
        of_copy: the rate as a share of the copy engine's.
        whole: whether what arrived is what was sent.
        evidence: lines that the verdict keeps.
    """

    choice: str
    label: str
    verified: str
    reason: str
    message: str
    confidence: str
    bytes: int
    expected: int
    gigabytes_per_second: float
    of_copy: float
    whole: bool
    evidence: tuple[str, ...]


class GpuSide(Side):
    """A side in its network namespace."""

    def __init__(self, role: str, gpu: int, environment: Mapping[str, str]) -> None:
        program = [sys.executable, gpu_side.__file__, str(gpu)]
        super().__init__(["ip", "netns", "exec", f"bench-{role}", *program], environment)

    def call(self, *call: Any) -> Any:
        """Have the side do something and return its answer."""
        return self.ask(json.dumps(call))["answer"]


@contextmanager
def pod_network() -> Iterator[None]:
    """Two network namespaces with a cable between them."""
    with ExitStack() as stack:
        for role in SIDES:
            _ip("netns", "add", f"bench-{role}")
            stack.callback(_ip, "netns", "delete", f"bench-{role}")
        _ip("link", "add", "eth0", "netns", f"bench-{PREFILL}", "type", "veth",
            "peer", "name", "eth0", "netns", f"bench-{DECODE}")  # fmt: skip
        for role, address in SIDES.items():
            _ip("-n", f"bench-{role}", "address", "add", f"{address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", f"bench-{role}", "link", "set", device, "up")
        yield


def measure(choice: str, folder: Path) -> Row:
    """Read the KV cache of a prompt from one GPU to the other and judge what the agents saw."""
    per_token = bytes_per_token(LLAMA_70B)
    assert per_token is not None
    size = int(per_token) * TOKENS
    with ExitStack() as stack:
        sides = {}
        for gpu, role in enumerate(SIDES):
            side = GpuSide(role, gpu, _environment(role, choice, folder))
            stack.callback(side.end)
            sides[role] = side
        source, reader = sides[PREFILL], sides[DECODE]
        metadata, address = source.call("lend", size)
        reader.call("prepare", size, metadata)
        reader.call("read", address, 0)  # connections are made at the first read
        first = _look(sides)
        time.sleep(QUIET_SECONDS)
        before = _look(sides)
        begun = time.monotonic()
        seconds, whole = reader.call("read", address, 0)
        window = Window({role: role for role in SIDES}, first, before, _look(sides), QUIET_SECONDS,
                        time.monotonic() - begun)  # fmt: skip
        (copied,) = reader.call("copy", 0)
    logs = {role: findings("\n".join(line for log in seen.logs for line in log.lines))
            for role, seen in window.after.items()}  # fmt: skip
    answer = Answer("the same")
    canary = Canary(TOKENS, size, answer, answer, seconds)
    promise = Promise(frozenset({Transport.NVLINK}), gpus=1)
    verdict = judge(dict.fromkeys(SIDES, promise), window, canary, logs)
    return Row(
        choice, verdict.label, verdict.verified, verdict.reason, verdict.message, verdict.confidence,
        verdict.bytes, size, size / seconds / 1e9, copied / seconds, whole, verdict.evidence,
    )  # fmt: skip


def _look(sides: Mapping[str, GpuSide]) -> dict[str, Evidence]:
    return {role: Evidence.model_validate(side.call("look")) for role, side in sides.items()}


def _environment(role: str, choice: str, folder: Path) -> dict[str, str]:
    log = folder / f"{choice.replace(' ', '-')}-{role}.log"
    return {
        "UCX_LOG_FILE": str(log),
        "UCX_LOG_LEVEL": "info",
        "UCX_PROTO_INFO": "y",
        "NIXL_TELEMETRY_ENABLE": "y",
        "NIXL_TELEMETRY_EXPORTER": "prometheus",
        "NIXL_TELEMETRY_PROMETHEUS_PORT": str(TELEMETRY_PORT),
        "DISAGG_NIXL_METRICS": f"http://127.0.0.1:{TELEMETRY_PORT}/metrics",
        "POD_NAME": role,
        **CHOICES[choice],
    }


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def main(
    out: Annotated[Path | None, typer.Option(help="Folder for the rows as JSON and UCX's logs.")] = None,
) -> None:
    """Measure all choices and print a table."""
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(pod_network())
        rows = [measure(choice, folder) for choice in CHOICES]
        (folder / "rows.json").write_text(json.dumps([asdict(row) for row in rows], indent=2))
    table = Table(title=f"KV cache of {TOKENS} tokens of Llama-3.3-70B between two GPUs of one host")
    for heading in ("choice", "transport", "verified", "reason", "confidence", "bytes/expected", "of copy"):
        table.add_column(heading)
    for row in rows:
        moved = f"{row.bytes / row.expected:.3f}"
        table.add_row(row.choice, row.label, row.verified, row.reason, row.confidence, moved,
                      f"{row.of_copy:.3f}{'' if row.whole else ' [red]damaged'}")  # fmt: skip
    Console().print(table)
    for row in rows:
        Console().print(f"{row.choice}: {row.message}", *(f"  {line}" for line in row.evidence), sep="\n")


if __name__ == "__main__":
    typer.run(main)
