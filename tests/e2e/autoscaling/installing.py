"""Puts the stand-in for prometheus-adapter into a namespace, and takes it away again."""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from e2e.cluster_client import Kubectl, Object, eventually
from testcluster.pki import Authority

NAME = "external-metrics"
API = "v1beta1.external.metrics.k8s.io"
_ADAPTER = Path(__file__).with_name("adapter.py")
_LABELS = {"app": NAME}
_READY_SECONDS = 120


@contextmanager
def external_metrics(kubectl: Kubectl, namespace: str, image: str, folder: Path) -> Iterator[None]:
    """Serve ``external.metrics.k8s.io`` while the block runs.

    Args:
        kubectl: the cluster.
        namespace: where the adapter runs; it admits restricted pods only.
        image: an image with Python.
        folder: where its certificates are made.
    """
    for obj in _objects(kubectl, namespace, image, folder):
        kubectl.apply_to(namespace, obj)
    try:
        eventually(lambda: _is_available(kubectl), _READY_SECONDS)
        yield
    finally:
        # An API that nobody serves any more would keep every namespace from being deleted.
        kubectl("delete", "apiservice", API, "--ignore-not-found")
        kubectl("delete", f"pod/{NAME}", f"--namespace={namespace}", "--ignore-not-found", "--wait=false")


def _is_available(kubectl: Kubectl) -> None:
    text = kubectl("get", "apiservice", API, "--output=json")
    conditions = json.loads(text).get("status", {}).get("conditions", [])
    found = [each for each in conditions if each["type"] == "Available"]
    assert found, "the API server has not looked at it yet"
    assert found[0]["status"] == "True", found[0].get("message")


def _objects(kubectl: Kubectl, namespace: str, image: str, folder: Path) -> list[Object]:
    authority = Authority(folder)
    host = f"{NAME}.{namespace}.svc"
    pair = authority.issue("adapter", NAME, hosts=[host])
    proxy = kubectl.get("configmap", "extension-apiserver-authentication", "kube-system")
    front_proxy = proxy["data"]["requestheader-client-ca-file"]
    secret = {
        "tls.crt": _encoded(pair.certificate.read_bytes()),
        "tls.key": _encoded(pair.key.read_bytes()),
    }
    return [
        {
            **_head("v1", "Secret"),
            "type": "kubernetes.io/tls",
            "data": secret,
        },
        {**_head("v1", "ConfigMap"), "data": {"adapter.py": _ADAPTER.read_text(encoding="utf-8")}},
        {**_head("v1", "Pod"), "spec": _pod(image, front_proxy)},
        {
            **_head("v1", "Service"),
            "spec": {"selector": _LABELS, "ports": [{"port": 443, "targetPort": 6443}]},
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": API},
            "spec": {
                "group": "external.metrics.k8s.io",
                "version": "v1beta1",
                "service": {"name": NAME, "namespace": namespace},
                "caBundle": _encoded(authority.identity.certificate.read_bytes()),
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        },
    ]


def _head(version: str, kind: str) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": NAME, "labels": _LABELS}}


def _pod(image: str, front_proxy: str) -> Object:
    return {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 1,
        "containers": [
            {
                "name": "adapter",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["python3", "-I", "/program/adapter.py"],
                "env": [{"name": "FRONT_PROXY_CA", "value": front_proxy}],
                "ports": [{"containerPort": 6443}],
                "readinessProbe": {
                    "tcpSocket": {"port": 6443},
                    "periodSeconds": 1,
                    "timeoutSeconds": 10,
                    "failureThreshold": 20,
                },
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                    "readOnlyRootFilesystem": True,
                },
                "volumeMounts": [
                    {"name": "program", "mountPath": "/program"},
                    {"name": "tls", "mountPath": "/tls"},
                ],
            }
        ],
        "volumes": [
            {"name": "program", "configMap": {"name": NAME}},
            {"name": "tls", "secret": {"secretName": NAME}},
        ],
    }


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()
