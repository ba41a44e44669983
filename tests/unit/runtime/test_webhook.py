"""The webhook's verdict on an AdmissionReview, and its certificate."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from disagg_operator.plan.installation import Installation
from disagg_operator.runtime.webhook import certificate as certificates
from disagg_operator.runtime.webhook.certificate import Certificate
from disagg_operator.runtime.webhook.review import answer
from testcluster.pki import Authority

INSTALLATION = Installation(worker_image="worker:test")


def resource(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": "demo", "namespace": "ns"},
        "spec": {
            "model": {"name": "m", "source": {"runtimeImage": {"path": "/models/m"}}},
            "runtime": {"engine": "reference"},
            **spec,
        },
    }


def verdict(judged: Any, before: Any = None) -> dict[str, Any]:
    review = {"request": {"uid": "u-1", "object": judged, "oldObject": before}}
    answered = answer(review, INSTALLATION)
    assert (answered["apiVersion"], answered["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = answered["response"]
    assert response["uid"] == "u-1"
    return response


def test_a_good_resource_is_allowed_without_a_word() -> None:
    assert verdict(resource()) == {"uid": "u-1", "allowed": True}


def test_a_wrong_one_is_refused_with_field_fault_and_remedy() -> None:
    response = verdict(resource(platform="nowhere"))
    assert response["allowed"] is False
    assert response["status"]["code"] == 422
    assert "spec.platform: there is no platform 'nowhere'. Write one of:" in response["status"]["message"]


def test_a_doubtful_one_is_allowed_with_a_warning() -> None:
    response = verdict(resource(security={"mode": "Privileged"}))
    assert response["allowed"] is True
    (warning,) = response["warnings"]
    assert warning.startswith("spec.security.mode: ")
    assert len(warning) <= 256


def test_what_keeps_a_wrong_specification_is_allowed() -> None:
    wrong = resource(platform="nowhere")
    assert verdict({**wrong, "metadata": {"name": "demo", "labels": {"a": "b"}}}, wrong)["allowed"] is True
    assert verdict(wrong, resource(platform="elsewhere"))["allowed"] is False


def test_what_is_being_deleted_is_allowed() -> None:
    wrong = resource(platform="nowhere")
    wrong["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert verdict(wrong, resource())["allowed"] is True


def test_a_deletion_has_no_object_and_is_allowed() -> None:
    assert verdict(None, resource())["allowed"] is True


def issue(folder: Path, name: str) -> None:
    """Put a new certificate and its key into a folder."""
    identity = Authority(folder / "ca").issue(name, name, hosts=["localhost"])
    (folder / "tls.crt").write_bytes(identity.certificate.read_bytes())
    (folder / "tls.key").write_bytes(identity.key.read_bytes())


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger=certificates.__name__)
    issue(tmp_path, "one")
    certificate = Certificate(tmp_path)
    certificate.look()
    assert "renewed" not in caplog.text
    (tmp_path / "tls.key").write_text("half of a key")
    certificate.look()
    assert "cannot take up" in caplog.text
    issue(tmp_path, "two")
    certificate.look()
    assert "took up a renewed certificate" in caplog.text


def test_a_certificate_that_ends_soon_is_warned_of_once_a_day_until_it_is_renewed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def warnings() -> int:
        return sum("Upgrade the chart's release" in message for message in caplog.messages)

    issue(tmp_path, "one")
    time = [datetime.now(UTC)]
    certificate = Certificate(tmp_path, now=lambda: time[0])
    assert warnings() == 0
    time[0] = certificate.ends - timedelta(days=29)
    for _ in range(3):
        certificate.look()
    assert warnings() == 1
    time[0] += timedelta(days=2)
    certificate.look()
    assert warnings() == 2
    time[0] = certificate.ends + timedelta(seconds=1)
    certificate.look()
    assert "the certificate ended" in caplog.messages[-1]
    time[0] = datetime.now(UTC)
    issue(tmp_path, "two")
    certificate.look()
    certificate.look()
    assert warnings() == 3


def test_a_folder_without_a_certificate_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"tls\.crt"):
        Certificate(tmp_path)
