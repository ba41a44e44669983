"""What is secret is in nothing that the operator writes: its most talkative log, status, Events, metrics."""

import base64
import json
import secrets
from collections.abc import Callable, Iterator

import pytest

from integration.operator.control_plane import Api, Deployed, Object, OperatorProcess, eventually

pytestmark = pytest.mark.apiserver


class Marks:
    """Texts that stand for secrets; each is found again wherever it turns up."""

    def __init__(self) -> None:
        self.made: dict[str, str] = {}

    def __call__(self, place: str) -> str:
        return self.made.setdefault(place, f"mark{secrets.token_hex(12)}")

    def found_in(self, text: str) -> list[str]:
        """Return the places whose secrets are in a text, as they are or encoded."""
        return [
            place
            for place, mark in self.made.items()
            if mark in text or base64.b64encode(mark.encode()).decode().rstrip("=")[:-1] in text
        ]


@pytest.fixture
def marks() -> Marks:
    return Marks()


@pytest.fixture
def deployed(
    api: Api, namespace: str, new_operator: Callable[..., OperatorProcess]
) -> Iterator[tuple[Deployed, OperatorProcess]]:
    """A deployment to be created, and an operator that logs all it can."""
    operator = new_operator("talkative", DISAGG_LOG_LEVEL="DEBUG")
    operator.wait_until_leading()
    yield Deployed(api, namespace, "demo"), operator
    operator.stop()


def refused_at(demo: Deployed, generation: int) -> None:
    """Wait until a generation of the specification is refused."""

    def refused() -> bool:
        accepted = demo.condition("Accepted")
        return (accepted.get("observedGeneration"), accepted["status"]) == (generation, "False")

    eventually(refused, f"generation {generation} is refused")


def test_secrets_are_in_nothing_that_the_operator_writes(
    api: Api, namespace: str, deployed: tuple[Deployed, OperatorProcess], marks: Marks
) -> None:
    demo, operator = deployed
    for name in ("hf", "pull"):
        body = {"metadata": {"name": name}, "stringData": {"token": marks(f"Secret {name}")}}
        api.create("secrets", namespace, body)
    hub = {"repository": "org/m", "tokenSecretRef": {"name": "hf", "key": "token"}}
    env = [{"name": "SOME", "value": marks("spec.env")}]
    container = {"name": "worker", "env": [{"name": "MORE", "value": marks("podTemplate")}]}
    role = {
        "nodesPerReplica": 2,
        "parallelism": {"tensor": 2},
        "env": [{"name": "OTHER", "value": marks("role env")}],
        "engineConfig": {"tokenizer": marks("engineConfig")},
        "podTemplate": {"spec": {"containers": [container]}},
    }
    spec = {
        "model": {"name": "m", "source": {"huggingFace": hub}},
        "platform": "generic",
        "runtime": {"engine": "trtllm", "imagePullSecrets": [{"name": "pull"}]},
        "env": env,
        "prefill": role,
        "decode": role,
        "frontend": {"env": [{"name": "FRONT", "value": marks("frontend env")}]},
    }
    demo.create(**spec)
    eventually(lambda: len(demo.find("statefulsets")) == 2, "workers are made")
    keys = eventually(lambda: api.find("secrets", namespace, demo.selector), "keys are made")
    for secret in keys:
        for key, value in secret["data"].items():
            # The lines of a private key, without what all keys have in common.
            for number, line in enumerate(base64.b64decode(value).decode().splitlines()[2:-1]):
                marks.made[f"{secret['metadata']['name']}.{key}[{number}]"] = line
    wrong: list[Object] = [
        {"env": [{"name": "DYN_NAMESPACE", "value": marks("reserved variable")}]},
        {"env": [{"name": "API_TOKEN", "value": marks("plain secret")}]},
        {
            "env": [
                {
                    "name": "A",
                    "value": marks("both"),
                    "valueFrom": {"secretKeyRef": {"name": "a", "key": "b"}},
                }
            ]
        },
        {"env": [{"name": "A", "value": f"{marks('NUL')}\0"}]},
        {"prefill": {"engineConfig": {"cache_transceiver_config": {"backend": marks("wrong value")}}}},
    ]
    for edit in wrong:
        demo.edit(**edit)
        generation = demo.resource()["metadata"]["generation"]
        refused_at(demo, generation)
        told = demo.condition("Accepted")["message"]
        assert [place for place in marks.found_in(told) if place != "wrong value"] == [], told
    # Another's field makes the API server's own words come by.
    api.patch(
        "statefulsets", namespace, demo.find("statefulsets")[0]["metadata"]["name"], {"spec": {"replicas": 7}}
    )
    demo.edit(env=env, prefill={"engineConfig": {"cache_transceiver_config": None}})
    eventually(lambda: demo.condition("Accepted")["status"] == "True", "it is accepted again")
    written = {
        "status": json.dumps(demo.status()),
        "events": json.dumps(api.find("events", namespace)),
        "metrics": operator.says("/metrics"),
        "log": operator.log.read_text(),
    }
    assert "DEBUG" in written["log"], "it logs all it can"
    assert len(marks.made) > 12
    # What the engine would not start with has to be named; an engine's setting is no place for a secret.
    found = {name: set(marks.found_in(text)) - {"wrong value"} for name, text in written.items()}
    assert found == {name: set() for name in written}
