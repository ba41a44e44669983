"""The webhook and the command line as processes of their own."""

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from generated.judges import ACCEPTED, INSTALLATION, Verdict, by_message
from integration.operator.control_plane import eventually
from testcluster.pki import Authority
from testcluster.ports import free_ports

Object = dict[str, Any]
CLI = str(Path(sys.executable).with_name("kubectl-disagg"))
LIMIT_SECONDS = 280


@dataclass(frozen=True)
class WebhookProcess:
    """A webhook process, asked over HTTPS as an API server would."""

    http: httpx.Client
    process: "subprocess.Popen[bytes]"

    def judge(self, resource: Any) -> Verdict:
        """Return what it says of a new resource."""
        review = {"request": {"uid": "u", "operation": "CREATE", "object": resource, "oldObject": None}}
        answer = self.http.post("/validate", content=json.dumps(review))
        assert answer.status_code == httpx.codes.OK, answer.text
        response = answer.json()["response"]
        return ACCEPTED if response["allowed"] else by_message(response["status"]["message"], resource)

    def resident(self) -> int:
        """Return its resident memory in MiB."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") // 1024**2


@contextmanager
def webhook_process(folder: Path) -> Iterator[WebhookProcess]:
    """Run ``disagg-webhook`` with a certificate of a test's own; no line of its log may be a traceback."""
    authority = Authority(folder / "ca")
    identity = authority.issue("webhook", "webhook", hosts=["127.0.0.1"])
    (folder / "tls.crt").write_bytes(identity.certificate.read_bytes())
    (folder / "tls.key").write_bytes(identity.key.read_bytes())
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "DISAGG_WORKER_IMAGE": INSTALLATION.worker_image,
        "DISAGG_HTTP_HOST": "127.0.0.1",
        "DISAGG_HTTP_PORT": str(port),
        "DISAGG_CERTIFICATE_FOLDER": str(folder),
    }
    context = ssl.create_default_context(cafile=str(authority.identity.certificate))
    program = str(Path(sys.executable).with_name("disagg-webhook"))
    log = folder / "webhook.log"
    with (
        log.open("wb") as written,
        subprocess.Popen([program], env=environment, stderr=written) as process,
        httpx.Client(base_url=f"https://127.0.0.1:{port}", verify=context, timeout=120) as http,
    ):
        try:
            eventually(lambda: _healthy(http), "the webhook answers")
            yield WebhookProcess(http, process)
        finally:
            process.terminate()
    assert process.returncode == 0
    assert "Traceback" not in log.read_text(encoding="utf-8")


def _healthy(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").text == "ok"
    except httpx.TransportError:
        return False


def lint(files: list[Path]) -> dict[str, list[str]]:
    """Run ``kubectl disagg lint`` once on files with a resource each.

    Returns:
        For each file the fields that are refused.
    """
    named = [part for file in files for part in ("-f", str(file))]
    ended = _run("lint", *named, "-o", "json")
    found: dict[str, list[str]] = {str(file): [] for file in files}
    entries = [entry for entry in json.loads(ended.stdout) if entry["severity"] == "refuse"]
    for entry in entries:
        found[entry["file"]].append(entry["field"])
    assert ended.returncode == (1 if entries else 0), ended.stderr
    return found


def renders(file: Path) -> tuple[bool, str]:
    """Run ``kubectl disagg render`` on a file; tell whether it is planned, and what is complained of."""
    ended = _run("render", "-f", str(file))
    assert ended.returncode in (0, 1), ended.stderr
    assert bool(ended.stdout) == (ended.returncode == 0)
    return ended.returncode == 0, ended.stderr


def _run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    ended = subprocess.run(
        [CLI, *arguments], capture_output=True, text=True, timeout=LIMIT_SECONDS, check=False
    )
    assert "Traceback" not in ended.stderr, ended.stderr[-2000:]
    return ended
