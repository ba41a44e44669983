"""A model that a Job fetches before workers start: made by the operator, run by the real Job controller.

There is no kubelet: what its pod is said to have done is written into the pod's status here.
"""

import json
from typing import Any

import pytest

from integration.operator.control_plane import Deployed, Object, eventually

pytestmark = pytest.mark.apiserver

JOB = "-model-"
NOW = "2026-01-01T00:00:00Z"


def model(revision: str) -> dict[str, Any]:
    cache = {"persistentVolumeClaim": {"claimName": "models"}}
    return {
        "name": "m",
        "source": {"huggingFace": {"repository": "acme/tiny", "revision": revision, "cache": cache}},
    }


def fetching(demo: Deployed, name: str) -> Object:
    """Return the pod of a Job, once the Job controller has made it."""

    def found() -> Object | None:
        pods = demo.api.find("pods", demo.namespace, f"batch.kubernetes.io/job-name={name}")
        return pods[0] if pods else None

    pod = eventually(found, "the Job has a pod")
    assert pod is not None
    return pod


def ended(demo: Deployed, pod: Object, reason: str, says: str) -> None:
    """Say that the pod's container ended so, as the kubelet would."""
    fetched = reason == "Fetched"
    message = json.dumps({"download": {"reason": reason, "says": says}})
    end = {"exitCode": 0 if fetched else 1, "message": message, "startedAt": NOW, "finishedAt": NOW}
    end |= {"reason": "Completed" if fetched else "Error"}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off"}
    states = (
        {"state": {"terminated": end}}
        if fetched
        else {"state": {"waiting": waiting}, "lastState": {"terminated": end}}
    )
    container = {
        "name": "fetch-model",
        "image": "i",
        "imageID": "i",
        "ready": False,
        "restartCount": int(not fetched),
        **states,
    }
    status = {"phase": "Succeeded" if fetched else "Running", "containerStatuses": [container]}
    demo.api.patch("pods", demo.namespace, pod["metadata"]["name"], {"status": status}, "/status")


def jobs(demo: Deployed) -> list[str]:
    return [job["metadata"]["name"] for job in demo.find("jobs")]


def until(demo: Deployed, kind: str, reason: str) -> str:
    """Wait for a condition without making any pod ready, and return its message."""
    eventually(lambda: demo.condition(kind)["reason"] == reason, f"{kind} is {reason}")
    return str(demo.condition(kind)["message"])


def test_workers_start_once_the_model_is_there_and_another_one_does_no_harm(demo: Deployed) -> None:
    demo.create(model=model("v1"))
    until(demo, "Progressing", "WaitingForModel")
    (first,) = jobs(demo)
    pod = fetching(demo, first)
    assert not demo.find("statefulsets")

    ended(demo, pod, "ModelGated", "acme/tiny is gated. Accept its terms.")
    assert until(demo, "ModelReady", "ModelGated") == "acme/tiny is gated. Accept its terms."
    assert not demo.find("statefulsets")

    ended(demo, pod, "Fetched", "acme/tiny (v1): 3 files.")
    until(demo, "ModelReady", "Fetched")
    eventually(
        lambda: demo.condition("Progressing")["reason"] == "Complete",
        "it serves",
        meanwhile=lambda: demo.make_ready(unless=JOB),
    )
    served = {obj["metadata"]["name"] for obj in demo.find("statefulsets")}

    demo.edit(model=model("v2"))
    until(demo, "Progressing", "WaitingForModel")
    second = eventually(lambda: next((each for each in jobs(demo) if each != first), ""), "another Job")
    ended(demo, fetching(demo, second), "NoSpace", "The volume is full.")
    assert until(demo, "ModelReady", "NoSpace") == "The volume is full."
    assert {obj["metadata"]["name"] for obj in demo.find("statefulsets")} == served
    assert demo.condition("Available")["status"] == "True"
    eventually(lambda: jobs(demo) == [second], "the old Job is gone")

    def events() -> set[str]:
        found = demo.api.find("events", demo.namespace)
        return {each["reason"] for each in found if each["regarding"].get("name") == demo.name}

    eventually(lambda: {"ModelGated", "Fetched", "NoSpace"} <= events(), "Events tell of the download")


def test_the_job_goes_with_its_deployment(demo: Deployed) -> None:
    demo.create(model=model("v1"))
    until(demo, "Progressing", "WaitingForModel")
    (name,) = jobs(demo)
    fetching(demo, name)
    demo.api.delete("disaggdeployments", demo.namespace, demo.name)
    eventually(lambda: not jobs(demo) and not demo.find("pods", "model"), "Job and pod are gone")
