"""The real webhook process while its certificate is renewed, as the kubelet and cert-manager do it."""

import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from integration.operator.control_plane import deployment, eventually
from testcluster.pki import Authority, Identity
from testcluster.ports import free_ports

REVIEW = {
    "apiVersion": "admission.k8s.io/v1",
    "kind": "AdmissionReview",
    "request": {"uid": "u", "operation": "CREATE", "object": deployment()},
}


class Secret:
    """A Secret's volume as the kubelet keeps it: files are links into a folder that is swapped as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._number = folder, 0
        folder.mkdir()

    def write(self, identity: Identity) -> None:
        self._number += 1
        data = self.folder / f"..data_{self._number}"
        data.mkdir()
        (data / "tls.crt").write_bytes(identity.certificate.read_bytes())
        (data / "tls.key").write_bytes(identity.key.read_bytes())
        (self.folder / "..new").symlink_to(data.name)
        (self.folder / "..new").rename(self.folder / "..data")
        for name in ("tls.crt", "tls.key"):
            if not (self.folder / name).is_symlink():
                (self.folder / name).symlink_to(f"..data/{name}")


@pytest.fixture
def secret(tmp_path: Path) -> Secret:
    return Secret(tmp_path / "secret")


def issued(folder: Path) -> tuple[Path, Identity]:
    """Return the certificate of a new authority, and a server's that it signed."""
    authority = Authority(folder)
    return authority.identity.certificate, authority.issue("webhook", "webhook", hosts=["127.0.0.1"])


@pytest.fixture
def old(tmp_path: Path, secret: Secret) -> Path:
    """The authority of the certificate that the process starts with."""
    bundle, identity = issued(tmp_path / "old")
    secret.write(identity)
    return bundle


@pytest.fixture
def url(secret: Secret, old: Path) -> Iterator[str]:
    """A webhook process, and where it listens."""
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "DISAGG_WORKER_IMAGE": "w",
        "DISAGG_LOG_LEVEL": "WARNING",
        "DISAGG_HTTP_HOST": "127.0.0.1",
        "DISAGG_HTTP_PORT": str(port),
        "DISAGG_CERTIFICATE_FOLDER": str(secret.folder),
    }
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("disagg-webhook"))], env=environment
    ) as process:
        try:
            eventually(lambda: trusted(f"https://127.0.0.1:{port}", old), "the webhook answers")
            yield f"https://127.0.0.1:{port}"
            assert process.poll() is None, "it goes on without a restart"
        finally:
            process.terminate()


def client(*bundles: Path) -> httpx.Client:
    context = ssl.create_default_context(cadata="".join(each.read_text() for each in bundles))
    return httpx.Client(verify=context, timeout=30, trust_env=False)


def trusted(url: str, *bundles: Path) -> bool:
    """Tell whether a new connection succeeds that trusts just these authorities."""
    try:
        with client(*bundles) as connection:
            return connection.get(f"{url}/healthz").text == "ok"
    except httpx.TransportError:
        return False


def judge(connection: httpx.Client, url: str) -> None:
    answer = connection.post(f"{url}/validate", content=json.dumps(REVIEW))
    assert answer.status_code == 200
    assert answer.json()["response"]["allowed"] is True


def test_a_renewed_certificate_is_shown_without_a_restart_or_a_lost_request(
    tmp_path: Path, secret: Secret, old: Path, url: str
) -> None:
    """The API server trusts both authorities while pods change over, and keeps connections for long."""
    new, identity = issued(tmp_path / "new")
    faults: list[BaseException] = []
    judged = 0
    stop = threading.Event()

    def ask_anew() -> None:
        # One authority after the other: OpenSSL, unlike Go, tries but one of the same name.
        try:
            with client(old) as fresh:
                judge(fresh, url)
        except httpx.ConnectError:
            with client(new) as fresh:
                judge(fresh, url)

    def keep_asking() -> None:
        nonlocal judged
        try:
            with client(old) as kept:
                while not stop.is_set():
                    judge(kept, url)
                    ask_anew()
                    judged += 2
                    stop.wait(0.02)
        except BaseException as fault:  # noqa: BLE001 - told by the test
            faults.append(fault)

    asking = threading.Thread(target=keep_asking)
    asking.start()
    try:
        assert trusted(url, old)
        assert not trusted(url, new)
        secret.write(identity)
        eventually(lambda: trusted(url, new), "the new certificate is shown")
        before = judged
        eventually(lambda: judged > before + 4 or faults, "requests go on")
    finally:
        stop.set()
        asking.join(60)
    assert faults == []
    assert not trusted(url, old), "who trusts the old authority alone is refused"


def test_the_end_of_the_certificate_is_a_metric(url: str, old: Path) -> None:
    with client(old) as connection:
        lines = connection.get(f"{url}/metrics").text.splitlines()
    (value,) = [line.split()[1] for line in lines if line.startswith("disagg_webhook_certificate_not_after")]
    assert float(value) > 1.7e9
