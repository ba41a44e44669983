"""Kubeconfig files that hold their certificates, so that they can be copied anywhere."""

import base64
from pathlib import Path
from typing import Any

import yaml

from testcluster.pki import Identity


def kubeconfig(server: str, authority: Path, user: Identity, name: str = "disagg") -> dict[str, Any]:
    """Build a kubeconfig with one cluster, one user and one context, all of one name."""
    cluster = {"server": server, "certificate-authority-data": _encoded(authority)}
    credentials = {
        "client-certificate-data": _encoded(user.certificate),
        "client-key-data": _encoded(user.key),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": credentials}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def write_kubeconfig(path: Path, server: str, authority: Path, user: Identity) -> Path:
    """Write a kubeconfig that only its owner can read, unless it says the same already."""
    text = yaml.safe_dump(kubeconfig(server, authority, user))
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.touch(mode=0o600)
        path.write_text(text, encoding="utf-8")
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
