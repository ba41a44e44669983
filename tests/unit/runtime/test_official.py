"""What of the official client is loaded, and the way that requests of the operator take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from disagg_operator.runtime.kube import proxy_of
from testcluster.pki import Authority

SERVER = "https://10.0.0.1:6443"


def test_the_operator_loads_neither_the_synchronous_client_nor_what_it_needs() -> None:
    asked = "import sys, disagg_operator.runtime.main; print(*sys.modules)"
    argv = [sys.executable, "-c", asked]
    loaded = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.split()
    assert "kubernetes.aio.client" in loaded
    assert not {"requests", "oauthlib", "cryptography"} & set(loaded)


@pytest.mark.parametrize(
    ("loaded", "found"), [("main", "0"), ("kube", "1")], ids=["operator", "kubectl-disagg"]
)
def test_the_operator_alone_leaves_out_the_authorities_of_the_machine(
    tmp_path: Path, loaded: str, found: str
) -> None:
    file = Authority(tmp_path).identity.certificate
    asked = (
        f"import os, ssl, disagg_operator.runtime.{loaded}, aiohttp.connector as own; "
        "count = lambda context: len(context.get_ca_certs()); "
        "print(count(own._SSL_CONTEXT_VERIFIED), count(ssl.create_default_context()), "
        "os.environ['SSL_CERT_FILE'])"
    )
    told = {**os.environ, "SSL_CERT_FILE": str(file)}
    argv = [sys.executable, "-c", asked]
    printed = subprocess.run(argv, capture_output=True, text=True, check=True, env=told).stdout.split()
    assert printed == [found, "1", str(file)]


def test_the_environment_tells_the_proxy_and_what_goes_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert proxy_of(SERVER) is None
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert proxy_of(SERVER) == "http://proxy:3128"
    monkeypatch.setenv("NO_PROXY", "10.0.0.1,.svc")
    assert proxy_of(SERVER) is None
