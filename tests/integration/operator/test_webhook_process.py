"""The webhook's process behind a real API server."""

import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from chart.helm import IMAGES, Helm, Object, of_kind, settings
from integration.operator.control_plane import Api, deployment, eventually
from testcluster.fixtures import ApiServer
from testcluster.pki import Authority
from testcluster.ports import free_ports

pytestmark = pytest.mark.apiserver

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"


@dataclass(frozen=True)
class Running:
    """A webhook process, and the namespace whose DisaggDeployments it judges."""

    namespace: str
    process: subprocess.Popen[bytes]


@pytest.fixture
def webhook(api: Api, apiserver: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Running]:
    """A webhook process that judges a namespace's DisaggDeployments, asked as the chart has it."""
    conditions = _match_conditions(Helm(Path(apiserver.tools.path("helm"))))
    authority = Authority(tmp_path / "ca")
    identity = authority.issue("webhook", "webhook", hosts=["127.0.0.1"])
    (tmp_path / "tls.crt").write_bytes(identity.certificate.read_bytes())
    (tmp_path / "tls.key").write_bytes(identity.key.read_bytes())
    (port,) = free_ports(1)
    environment = {
        **os.environ,
        "DISAGG_WORKER_IMAGE": "disagg.local/worker:test",
        "DISAGG_HTTP_HOST": "127.0.0.1",
        "DISAGG_HTTP_PORT": str(port),
        "DISAGG_CERTIFICATE_FOLDER": str(tmp_path),
    }
    program = str(Path(sys.executable).with_name("disagg-webhook"))
    url = f"https://127.0.0.1:{port}"
    bundle = authority.identity.certificate
    with subprocess.Popen([program], env=environment) as process:
        try:
            eventually(lambda: _healthy(url, bundle), "the webhook answers")
            configuration = _configuration(namespace, f"{url}/validate", bundle, conditions)
            made = api.http.post(CONFIGURATIONS, json=configuration)
            made.raise_for_status()
            # The API server takes new configurations up a moment later.
            eventually(lambda: _judged(api, namespace), "the API server asks the webhook")
            yield Running(namespace, process)
            api.http.delete(f"{CONFIGURATIONS}/{namespace}").raise_for_status()
        finally:
            process.terminate()
    assert process.returncode == 0


def _healthy(url: str, bundle: Path) -> bool:
    try:
        context = ssl.create_default_context(cafile=str(bundle))
        return httpx.get(f"{url}/healthz", verify=context, trust_env=False).text == "ok"
    except httpx.TransportError:
        return False


def _match_conditions(helm: Helm) -> list[Object]:
    (made,) = of_kind(
        helm.render(*settings(**IMAGES, webhook__enabled=True)), "ValidatingWebhookConfiguration"
    )
    found: list[Object] = made["webhooks"][0]["matchConditions"]
    return found


def _configuration(namespace: str, url: str, bundle: Path, conditions: list[Object]) -> dict[str, object]:
    rule = {
        "apiGroups": ["disagg.dev"],
        "apiVersions": ["v1alpha1"],
        "resources": ["disaggdeployments"],
        "operations": ["CREATE", "UPDATE"],
    }
    return {
        "metadata": {"name": namespace},
        "webhooks": [
            {
                "name": "validate.disagg.dev",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {"url": url, "caBundle": base64.b64encode(bundle.read_bytes()).decode()},
                "rules": [rule],
                "matchConditions": conditions,
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            }
        ],
    }


def _create(api: Api, namespace: str, name: str, **spec: object) -> httpx.Response:
    path = api.path("disaggdeployments", namespace)
    return api.http.post(path, json=deployment(name, **spec), params={"dryRun": "All"})


def _judged(api: Api, namespace: str) -> bool:
    return _create(api, namespace, "probe", platform="nowhere").is_error


def test_a_wrong_resource_is_refused_at_once_with_its_remedy(api: Api, webhook: Running) -> None:
    answer = _create(api, webhook.namespace, "wrong", platform="nowhere")
    assert answer.status_code == 422
    assert "denied the request: spec.platform: there is no platform 'nowhere'" in answer.json()["message"]


def test_a_doubtful_resource_is_taken_with_a_warning(api: Api, webhook: Running) -> None:
    answer = _create(api, webhook.namespace, "doubtful", security={"mode": "Privileged"})
    assert answer.status_code == 201
    assert "no fabric of this platform needs privileged workers" in answer.headers["Warning"]


def test_a_good_resource_is_taken_and_a_wrong_edit_leaves_it_as_it_was(api: Api, webhook: Running) -> None:
    api.create("disaggdeployments", webhook.namespace, deployment("good"))
    path = api.path("disaggdeployments", webhook.namespace, "good")
    headers = {"Content-Type": "application/merge-patch+json"}
    edit = api.http.patch(path, json={"spec": {"platform": "nowhere"}}, headers=headers)
    assert edit.status_code == 422
    assert api.get("disaggdeployments", webhook.namespace, "good")["spec"]["platform"] == "local"
    label = api.http.patch(path, json={"metadata": {"labels": {"a": "b"}}}, headers=headers)
    assert label.status_code == 200
    api.delete("disaggdeployments", webhook.namespace, "good")


def test_while_it_is_gone_a_deletion_goes_on_and_no_specification_changes(api: Api, webhook: Running) -> None:
    """As with failurePolicy Fail, whose webhook must not hold the operator's finalizer."""
    api.create("disaggdeployments", webhook.namespace, deployment("kept"))
    webhook.process.terminate()
    assert webhook.process.wait(20) == 0
    path = api.path("disaggdeployments", webhook.namespace, "kept")
    headers = {"Content-Type": "application/merge-patch+json"}

    def patch(change: Object) -> int:
        return api.http.patch(path, json=change, headers=headers).status_code

    assert patch({"spec": {"decode": {"replicas": 2}}}) == 500
    assert patch({"metadata": {"finalizers": ["example.com/held"]}}) == 200
    api.delete("disaggdeployments", webhook.namespace, "kept")
    assert "deletionTimestamp" in api.get("disaggdeployments", webhook.namespace, "kept")["metadata"]
    assert patch({"metadata": {"finalizers": None}}) == 200
    eventually(lambda: api.http.get(path).status_code == 404, "it is gone")


def test_what_is_nested_as_deeply_as_the_api_server_takes_is_refused(api: Api, webhook: Running) -> None:
    text = json.dumps(deployment("deep", prefill={"podTemplate": {"spec": {"x": "HERE"}}}))
    nested = text.replace('"HERE"', '{"x":' * 9_900 + "{}" + "}" * 9_900)
    answer = api.http.post(
        api.path("disaggdeployments", webhook.namespace),
        content=nested,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 422
    assert "is nested more than" in answer.text
