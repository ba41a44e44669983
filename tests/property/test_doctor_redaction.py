"""No secret leaves a cluster in doctor's bundle, wherever it stands and however it is written."""

import json
from datetime import UTC, datetime
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.cli.doctor.bundle import files
from disagg_operator.cli.doctor.collected import Collected
from disagg_operator.cli.doctor.findings import findings
from disagg_operator.cli.doctor.redaction import REMOVED, Redactor, looks_secret

NOW = datetime(2026, 11, 26, tzinfo=UTC)
# Letters that no other part of a bundle has in this order: finding one is finding the secret.
BODY = st.text("QZXJKVqzxjkv0123456789+/=_-.", min_size=8, max_size=40)
SECRETS = BODY.map(lambda body: f"QzX{body}").map(lambda text: text.rstrip("."))
NAMES = st.sampled_from(
    [
        *(
            "HF_TOKEN",
            "NGC_API_KEY",
            "AWS_SECRET_ACCESS_KEY",
            "DB_PASSWORD",
            "password",
            "apiKey",
            "authToken",
        ),
        *("client-secret", "OPENAI_APIKEY", "SSH_PRIVATE_KEY", "licenseKey", "GIT_CREDENTIALS", "my_pwd"),
    ]
)
SHAPED = st.one_of(
    st.from_regex(r"hf_[A-Za-z0-9]{20,34}", fullmatch=True),
    st.from_regex(r"nvapi-[A-Za-z0-9]{20,60}", fullmatch=True),
    st.from_regex(r"ghp_[A-Za-z0-9]{36}", fullmatch=True),
    st.from_regex(r"AKIA[A-Z0-9]{16}", fullmatch=True),
    st.from_regex(r"eyJ[A-Za-z0-9]{10,20}\.[A-Za-z0-9]{10,20}\.[A-Za-z0-9]{10,20}", fullmatch=True),
)


def env(name: str, value: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "worker", "env": [{"name": name, "value": value}]}]}}


def places(name: str, value: str) -> list[Any]:
    """Return objects that hold a secret, each in another way."""
    document = json.dumps({"name": name, "value": value})
    return [
        env(name, value),
        {"kind": "Secret", "apiVersion": "v1", "metadata": {}, "data": {"x": value}},
        {"kind": "Secret", "apiVersion": "v1", "metadata": {}, "stringData": {"x": value}},
        {"spec": {"engineConfig": {name: value}}},
        {"spec": {"containers": [{"args": [f"--{name}", value]}]}},
        {"spec": {"containers": [{"args": [f"--{name}={value}"]}]}},
        {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": document}}},
        {"metadata": {"annotations": {"other.dev/copy": json.dumps(env(name, value))}}},
        {"data": {"engine.yaml": f"model: a\n{name}: {value}\n", "run.sh": f"export {name}='{value}'\n"}},
        {"data": {"env.yaml": yaml.safe_dump([{"name": name, "value": value}], sort_keys=True)}},
        {"spec": {"nats": {"url": f"nats://user:{value.replace('/', '')}@nats:4222"}}},
    ]


def everything(found: Collected) -> str:
    texts = files(found, findings(found, NOW), NOW)
    return "\n".join([*texts, *texts.values()])


@given(name=NAMES, secret=SECRETS, where=st.integers(0, 10))
def test_a_secret_by_name_stays_nowhere_in_the_bundle(name: str, secret: str, where: int) -> None:
    metadata = {"name": "llama", "namespace": "models"}
    held = places(name, secret)[where]
    holder = {"kind": "ConfigMap", **held, "metadata": {**held.get("metadata", {}), "name": "held"}}
    spec = env(name, secret)["spec"]
    pod = {"kind": "Pod", "metadata": {"name": "p", **metadata}, "spec": spec}
    found = Collected(
        {"kind": "DisaggDeployment", "metadata": metadata, "spec": held.get("spec", {})},
        children=[holder],
        pods=[pod],
        events=[
            {
                "type": "Warning",
                "reason": "Failed",
                "note": f"cannot log in with {secret}",
                "metadata": {"creationTimestamp": "2026-11-25T23:59:00Z"},
            }
        ],
        agents={"p": json.dumps({"logs": [f"{name}={secret}"]}).encode(), "q": f"refused {secret}"},
        logs={"p/worker.log": f"started with {secret}\n{name}={secret}\n"},
        nodes=[{"metadata": {"name": "n", "labels": {"x": secret}}}],
        versions={"plugin": secret},
        unread={"log": f"no {secret}"},
    )
    told = everything(found)
    assert secret not in told
    assert REMOVED in told


@given(name=NAMES, secret=SECRETS, where=st.integers(0, 10))
def test_a_secret_is_found_where_it_stands_alone(name: str, secret: str, where: int) -> None:
    obj = places(name, secret)[where]
    assert secret.replace("/", "") not in json.dumps(Redactor([]).object(obj)).replace("/", "")


@given(
    secret=SHAPED,
    before=st.sampled_from(["", "using ", "key=", '{"a": "']),
    after=st.sampled_from(["", '"}', "\n"]),
)
def test_well_known_tokens_are_found_in_any_text(secret: str, before: str, after: str) -> None:
    assert secret not in Redactor([]).text(f"{before}{secret}{after}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@given(obj=JSON)
def test_any_object_keeps_its_shape(obj: Any) -> None:
    left = Redactor([obj]).object(obj)
    assert type(left) is type(obj)
    if isinstance(obj, list):
        assert len(left) == len(obj)


def test_what_holds_no_secret_stays() -> None:
    kept = {
        "kind": "Pod",
        "metadata": {"name": "llama-decode-aaaa-0", "labels": {"disagg.dev/role": "decode"}},
        "spec": {
            "automountServiceAccountToken": False,
            "imagePullSecrets": [{"name": "registry"}],
            "volumes": [{"name": "ssh", "secret": {"secretName": "llama-ssh", "items": [{"key": "id"}]}}],
            "containers": [
                {
                    "args": ["--max-tokens", "512", "--tokenizer", "meta/llama"],
                    "env": [
                        {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "token"}}},
                        {"name": "FI_EFA_ENABLE_SHM_TRANSFER", "value": "0"},
                        {"name": "MAX_TOKENS_IN_BUFFER", "value": "8192"},
                    ],
                }
            ],
        },
    }
    assert Redactor([kept]).object(kept) == kept
    log = "2026-11-26T10:00:00Z INFO ucx: rdmap40s0:1 srd, max_num_tokens=8192 http://demo-frontend:8000/v1"
    assert Redactor([kept]).text(log) == log


def test_names_that_only_refer_to_a_secret_are_none() -> None:
    names = ["secretName", "tokenSecretRef", "maxTokens", "tokenizer", "key", "num_tokens", "author"]
    assert [name for name in names if looks_secret(name)] == []
