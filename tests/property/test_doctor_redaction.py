"""No secret leaves a cluster in doctor's bundle, wherever it stands and however it is written."""

import json
import shlex
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from disagg_operator.cli.doctor.bundle import files, redactor_of
from disagg_operator.cli.doctor.collected import Cause, Collected, Unread
from disagg_operator.cli.doctor.findings import findings
from disagg_operator.cli.doctor.redaction import REMOVED, Redactor
from disagg_operator.cli.doctor.secret_names import looks_secret

NOW = datetime(2026, 11, 26, tzinfo=UTC)
FIRST, LAST = "QzX", "XjQ"
"""Letters that no other part of a bundle has in this order: either is a part of the secret."""
SECRETS = st.text("ZJKVzjkv0189+/=_-.:,;&@%$#!|<>(){}[]\\\"' ", min_size=2, max_size=30).map(
    lambda body: f"{FIRST}{body}{LAST}"
)
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
        *(
            "PROMPT_API_TOKEN",
            "PGPASSWORD",
            "authtoken",
            "secretkey",
            "API_KEYS",
            "passwords",
            "AUTH_TOKENS",
            "REDIS_PASS",
        ),
    ]
)
SHAPED = st.one_of(
    st.from_regex(r"hf_[A-Za-z0-9]{20,34}", fullmatch=True),
    st.from_regex(r"nvapi-[A-Za-z0-9]{20,60}", fullmatch=True),
    st.from_regex(r"ghp_[A-Za-z0-9]{36}", fullmatch=True),
    st.from_regex(r"AKIA[A-Z0-9]{16}", fullmatch=True),
    st.from_regex(r"eyJ[A-Za-z0-9]{10,20}\.[A-Za-z0-9]{10,20}\.[A-Za-z0-9]{10,20}", fullmatch=True),
)
WAYS, HOLDERS = 20, 12
META = {"name": "llama", "namespace": "models"}


def env(name: str, value: str) -> dict[str, Any]:
    return {"spec": {"containers": [{"name": "worker", "env": [{"name": name, "value": value}]}]}}


def holders(name: str, value: str) -> list[Any]:
    """Return objects that hold a secret, each in another place."""
    document = json.dumps({"name": name, "value": value})
    return [
        env(name, value),
        {"kind": "Secret", "apiVersion": "v1", "metadata": {}, "data": {"x": value}},
        {"kind": "Secret", "apiVersion": "v1", "metadata": {}, "stringData": {"x": value}},
        {"spec": {"engineConfig": {name: value}}},
        {"spec": {"engineConfig": {name: {"user": "ann", "value": [value]}}}},
        {"spec": {"containers": [{"args": [f"--{name}", value]}]}},
        {"spec": {"containers": [{"args": [f"--{name}={value}"]}]}},
        {"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": document}}},
        {"metadata": {"annotations": {"other.dev/copy": json.dumps(env(name, value))}}},
        {"metadata": {"annotations": {"other.dev/copy": json.dumps({"a": json.dumps({name: value})})}}},
        {"data": {"env.yaml": yaml.safe_dump([{"name": name, "value": value}], sort_keys=True)}},
        {"spec": {"nats": {"url": f"nats://user:{quote(value, safe='')}@nats:4222"}}},
    ]


def texts(name: str, value: str) -> list[str]:
    """Return texts that tell a secret, each written as those write it who write such texts."""
    word = name.replace("-", "_")
    return [
        yaml.safe_dump({"model": "a", name: value}, width=1000),
        yaml.safe_dump({name: [value], "model": "a"}, width=1000),
        f"{name}: |\n  {value}\nmodel: a\n",
        f"# settings\nexport {word}={shlex.quote(value)}\n",
        f"exec serve --{name} {shlex.quote(value)} --port 8000\n",
        f"exec serve --{name}={shlex.quote(value)}; sleep 1\n",
        f"2026-11-26T10:00:00.000000000Z {word}={value}\n",
        f"args=Namespace(model='a', {word}={value!r}, port=80)",
        f"started with {['--model', 'a', f'--{name}', value, '--port']}",
        f"url: https://h/cb?model=a&{name}={quote(value, safe='')}",
        json.dumps({"level": "info", "msg": f"{name}={value}", "pod": "a"}),
        f"request {json.dumps({'value': value, 'name': name})}",
        f"request {json.dumps({'name': name, 'value': value})}",
        f"request {json.dumps(json.dumps({'model': 'a', name: value, 'port': 80}))}",
    ]


def lines_of_words(name: str, value: str) -> list[str]:
    """Return texts that tell a secret without a space, and within other words."""
    return [
        f"ERROR: {name}={value}",
        f"cannot log in: {name}: {value} is refused",
        f"level=info msg={json.dumps(f'using {name}={value}')} pod=a",
        json.dumps({"level": "info", "msg": f"using {name}={value}", "pod": "a"}),
        f"env {{Name:{name} Value:{value} ValueFrom:nil}}",
        f"GET /cb?model=a;{name}:{value}",
    ]


def told_by(way: int, name: str, secret: str) -> tuple[str, str]:
    """Return a text that tells a secret, and the secret as it tells it."""
    if way < len(texts(name, secret)):
        return texts(name, secret)[way], secret
    word = secret.replace(" ", "")
    return lines_of_words(name, word)[way - len(texts(name, secret))], word


def test_all_ways_are_tried() -> None:
    assert len(texts("a", "b")) + len(lines_of_words("a", "b")) == WAYS
    assert len(holders("a", "b")) == HOLDERS


def everything(found: Collected) -> str:
    """Return all that a bundle says, but for the page that explains it."""
    written = files(found, findings(found, NOW), redactor_of(found), NOW)
    assert "README.txt" in written
    return "\n".join([*written, *(text for path, text in written.items() if path != "README.txt")])


def repeated(name: str, secret: str, held: dict[str, Any]) -> Collected:
    """Return what was collected where one object tells a secret, and all else repeats it without its name."""
    holder = {"kind": "ConfigMap", **held, "metadata": {**held.get("metadata", {}), "name": "held"}}
    spelled = [secret, json.dumps(secret), repr(secret), quote(secret, safe=""), json.dumps([[secret]])]
    return Collected(
        {"kind": "DisaggDeployment", "metadata": META},
        children=[holder],
        pods=[{"kind": "Pod", "metadata": {"name": "p", **META}, "spec": {"containers": []}}],
        events=[
            {
                "type": "Warning",
                "reason": "Failed",
                "note": f"cannot log in with {secret}",
                "metadata": {"creationTimestamp": "2026-11-25T23:59:00Z"},
            }
        ],
        agents={"p": json.dumps({"logs": [f"got {secret} of {name}"]}).encode(), "q": f"refused {secret}"},
        logs={
            "p/worker.log": "".join(f"started with {each}\n" for each in spelled),
            "p/basic.log": f"sent {b64encode(secret.encode()).decode()}",
        },
        nodes=[{"metadata": {"name": "n", "labels": {"x": secret}}}],
        versions={"plugin": secret},
        unread={"log": Unread(f"no {secret}", Cause.FAILED)},
    )


def check_nothing_is_left(told: str, secret: str) -> None:
    assert FIRST not in told
    assert LAST not in told
    assert b64encode(secret.encode()).decode() not in told


@given(name=NAMES, secret=SECRETS, where=st.integers(0, HOLDERS - 1))
def test_what_an_object_tells_stays_nowhere_in_the_bundle(name: str, secret: str, where: int) -> None:
    held = holders(name, secret)[where]
    if "kubectl.kubernetes.io/last-applied-configuration" in str(
        held
    ):  # left out, so that it teaches nothing
        told = everything(Collected({"kind": "ConfigMap", **held, "metadata": {**held["metadata"], **META}}))
        assert FIRST not in told
        return
    check_nothing_is_left(everything(repeated(name, secret, held)), secret)


@given(name=NAMES, secret=SECRETS, way=st.integers(0, WAYS - 1))
def test_what_a_text_in_a_config_map_tells_stays_nowhere_in_the_bundle(
    name: str, secret: str, way: int
) -> None:
    text, told = told_by(way, name, secret)
    check_nothing_is_left(everything(repeated(name, told, {"data": {"run.sh": text}})), told)


@given(name=NAMES, secret=SECRETS, where=st.integers(0, HOLDERS - 1))
def test_a_secret_is_found_where_it_stands_alone(name: str, secret: str, where: int) -> None:
    left = json.dumps(Redactor([]).object(holders(name, secret)[where]))
    assert FIRST not in left
    assert LAST not in left


@given(
    name=NAMES, secret=SECRETS, way=st.integers(0, WAYS - 1), before=st.sampled_from(["", "a: b\n", "x\n\n"])
)
def test_a_secret_is_found_in_a_log_alone(name: str, secret: str, way: int, before: str) -> None:
    text, _ = told_by(way, name, secret)
    left = Redactor([]).text(f"{before}{text}\nthe end")
    assert FIRST not in left
    assert LAST not in left
    assert left.startswith(before)
    assert left.endswith("the end")


@given(name=NAMES, body=st.text("Zj", min_size=4), way=st.integers(0, WAYS - 1))
def test_what_a_log_tells_by_name_stays_nowhere_in_that_log(name: str, body: str, way: int) -> None:
    secret = f"{FIRST}4{body}{LAST}"
    text, _ = told_by(way, name, secret)
    left = Redactor([]).text(f"got {secret}\n{text}\nand {secret} again")
    assert FIRST not in left
    assert left.startswith(f"got {REMOVED}\n")
    assert left.endswith(f"and {REMOVED} again")


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


@given(text=st.text("token=:\"'\\[]{}()|>- \nvalue,name;&@/%", max_size=200))
def test_any_text_is_read_to_its_end(text: str) -> None:
    left = Redactor([text]).text(f"{text}\n\nplain words at the end")
    assert left.endswith("plain words at the end")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "part",
    [
        "a",
        "\\",
        '"',
        "token=",
        "token=[",
        'token="',
        "token='a\n",
        "token:\n",
        '\\"',
        "a://b:",
        "name: value: ",
        "@",
    ],
)
def test_hostile_logs_cost_time_in_proportion_to_their_length(part: str) -> None:
    Redactor([]).text(part * (400_000 // len(part)))


def test_deep_json_is_no_trouble() -> None:
    deep = "[" * 5000 + '{"token": "abcdefgh"}' + "]" * 5000
    obj = {"data": {"x": deep}}
    assert "abcdefgh" not in json.dumps(Redactor([obj]).object(obj))


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
                    "args": [
                        "--max-tokens",
                        "512",
                        "--tokenizer",
                        "meta/llama",
                        "--initial-cluster-token=a-b-c",
                    ],
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


def test_the_path_of_a_secret_stays_where_it_is_told_without_its_name() -> None:
    env = [{"name": "HF_TOKEN_PATH", "value": "/etc/hf/token"}]
    mounted = {"mountPath": "/etc/hf/token"}
    assert Redactor([{"env": env, "args": ["auth_key=/etc/hf/token"]}]).object(mounted) == mounted


def test_a_block_of_a_program_is_no_value() -> None:
    program = "for each in secrets:\n    read(each)\nprint(1)"
    assert Redactor([]).text(program) == program


def test_only_references_and_numbers_of_tokens_are_no_secrets() -> None:
    names = ["secretName", "tokenSecretRef", "maxTokens", "tokenizer", "key", "num_tokens", "author", "PWD"]
    names += ["kvBytesPerToken", "time_to_first_token", "time_per_output_token", "eos_token"]
    names += ["topologyKey", "passed", "compass", "kvBytesPerTokens", "path", "patch", "monkey", "automount"]
    assert [name for name in names if looks_secret(name)] == []


@pytest.mark.parametrize(
    ("written", "left"),
    [
        ("ERROR: password=hunter2", "ERROR: password=REMOVED"),
        ("url: https://h/cb?token=abc", "url: https://h/cb?token=REMOVED"),
        ('level=info msg="using token=abc" pod=a', 'level=info msg="using token=REMOVED" pod=a'),
        ('{"level":"info","msg":"token=abc","pod":"a"}', '{"level":"info","msg":"token=REMOVED","pod":"a"}'),
        ("args=Namespace(api_key='abc', port=80)", "args=Namespace(api_key='REMOVED', port=80)"),
        (r"{\"token\": \"abc\", \"port\": 80}", r"{\"token\": \"REMOVED\", \"port\": 80}"),
        ("password=ab,cd;ef&gh@ij port=80", "password=REMOVED"),
        ("got password=ab,cd;ef&gh@ij port=80", "got password=REMOVED port=80"),
        ("API key: abc\nport: 80", "API key: REMOVED\nport: 80"),
        ("Authorization: Digest a=b, c=d\nport: 80", "Authorization: REMOVED\nport: 80"),
        ("secret:\n  secretName: llama-ssh\n", "secret:\n  secretName: llama-ssh\n"),
        ("pull oci://registry/image@sha256:0123", "pull oci://registry/image@sha256:0123"),
        ("token: null\ngot password: '' and secret=false", "token: null\ngot password: '' and secret=false"),
    ],
)
def test_all_of_a_value_is_taken_and_no_more(written: str, left: str) -> None:
    assert Redactor([]).text(written) == left
