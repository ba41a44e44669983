"""A resource of the wrong shape is refused: the path as written, the fault in plain words, the remedy."""

import copy
import math
from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

import pytest

from disagg_operator.api.parse import accept, parse
from disagg_operator.api.problems import Problem, Refusal, listed
from disagg_operator.api.translate import model_at, path
from disagg_operator.api.v1alpha1.patterns import WORDS
from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.role import RoleSpec

GOOD: dict[str, Any] = {
    "apiVersion": "disagg.dev/v1alpha1",
    "kind": "DisaggDeployment",
    "metadata": {"name": "good"},
    "spec": {
        "model": {"name": "small", "source": {"runtimeImage": {"path": "/models/small"}}},
        "runtime": {"engine": "reference"},
    },
}


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    resource = copy.deepcopy(GOOD)
    change(resource)
    return resource


def with_spec(**fields: Any) -> dict[str, Any]:
    return changed(lambda resource: resource["spec"].update(fields))


def nested(depth: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(depth):
        found = {"x": found}
    return found


def problems(resource: Any) -> tuple[Problem, ...]:
    with pytest.raises(Refusal) as refused:
        parse(resource)
    return refused.value.problems


def test_a_good_resource_is_accepted_with_its_defaults() -> None:
    resource = accept(GOOD)
    assert resource.metadata.namespace == "default"
    assert resource.spec.prefill == RoleSpec()
    assert resource.spec.transfer.timeout_seconds == 60


def test_a_refusal_of_very_many_fields_can_still_be_read() -> None:
    found = problems(with_spec(**{f"k{number}": number for number in range(5000)}))
    assert len(found) == 51
    assert found[-1].fault == "this and 4949 further fields are wrong as well"


def test_problems_beyond_a_length_are_counted_behind_the_first_that_is_left_out() -> None:
    found = problems(with_spec(**{f"k{number}": number for number in range(9)}))
    whole = listed(found, 10_000)
    assert whole.splitlines() == [str(each) for each in found]
    lines = listed(found, len(whole) - 1).splitlines()
    assert lines[:-1] == whole.splitlines()[: len(lines) - 1]
    assert lines[-1].startswith(f"{found[len(lines) - 1].field}: this and {9 - len(lines)} further fields")
    assert len(listed(found, 100)) == 100


def test_a_whole_number_may_be_written_as_a_fraction_as_the_api_server_takes_it() -> None:
    assert parse(with_spec(prefill={"replicas": 2.0})).spec.prefill.replicas == 2


TABLE: list[tuple[dict[str, Any], str, str, str]] = [
    (with_spec(platfrom="local"), "spec.platfrom", "there is no such field", "Did you mean platform?"),
    (
        with_spec(zzz=1),
        "spec.zzz",
        "there is no such field",
        "Known fields: model, platform, platformProfile, ",
    ),
    (
        with_spec(prefill={"gpus_per_node": 1}),
        "spec.prefill.gpus_per_node",
        "there is no such field",
        "Did you mean gpusPerNode?",
    ),
    (
        with_spec(prefill={"GPUSPERNODE": 1}),
        "spec.prefill.GPUSPERNODE",
        "there is no such field",
        "Did you mean gpusPerNode?",
    ),
    (
        with_spec(env=[{"name": "A", "valueForm": {}}]),
        "spec.env[0].valueForm",
        "there is no such field",
        "Did you mean value",
    ),
    (
        with_spec(decode={"replicas": "3"}),
        "spec.decode.replicas",
        "must be a whole number, not the text '3'",
        "Leave the quotes out: 3",
    ),
    (
        with_spec(decode={"replicas": True}),
        "spec.decode.replicas",
        "must be a whole number, not true",
        "Write a whole number",
    ),
    (with_spec(decode={"replicas": -1}), "spec.decode.replicas", "-1 is too small", "Write at least 0"),
    (with_spec(decode={"replicas": 1001}), "spec.decode.replicas", "1001 is too large", "Write at most 1000"),
    (
        with_spec(decode={"devices": {"vpc.amazonaws.com/efa": 999}}),
        "spec.decode.devices[vpc.amazonaws.com/efa]",
        "999 is too large",
        "Write at most 128",
    ),
    (
        with_spec(env=[{"name": "A", "value": 5}]),
        "spec.env[0].value",
        "must be text, not the number 5",
        'Put it in quotes: "5"',
    ),
    (
        with_spec(env=[{"name": "A", "value": False}]),
        "spec.env[0].value",
        "must be text, not false",
        'Put it in quotes: "false"',
    ),
    (with_spec(env={"A": "b"}), "spec.env", "must be a list, not an object", "Write a list"),
    (with_spec(decode=[]), "spec.decode", "must be an object, not a list", "Write an object"),
    (
        with_spec(decode={"resources": {"limits": {"memory": "2GB"}}}),
        "spec.decode.resources.limits.memory",
        "'2GB' is no quantity",
        "Write a quantity such as 2, 500m or 16Gi",
    ),
    (
        with_spec(decode={"resources": {"limits": {"cpu": "1\n"}}}),
        "spec.decode.resources.limits.cpu",
        "is no quantity",
        "Write a quantity",
    ),
    (
        with_spec(transfer={"method": "nixl"}),
        "spec.transfer.method",
        "'nixl' is not allowed",
        "Did you mean NIXL? Allowed: NIXL, UCX, MOONCAKE, MPI",
    ),
    (
        with_spec(transfer={"method": "rsync"}),
        "spec.transfer.method",
        "'rsync' is not allowed",
        "Write one of: NIXL, UCX, MOONCAKE, MPI",
    ),
    (
        with_spec(transfer={"method": 3}),
        "spec.transfer.method",
        "must be text, not the number 3",
        "Write one of: NIXL",
    ),
    (
        with_spec(env=[{"name": "A B", "value": ""}]),
        "spec.env[0].name",
        "'A B' is not allowed here",
        "Write letters, digits, underscores",
    ),
    (
        with_spec(env=[{"name": "A", "value": "x" * 40000}]),
        "spec.env[0].value",
        "has 40000 characters",
        "Write at most 32768",
    ),
    (
        with_spec(env=[{"name": f"A{i}"} for i in range(300)]),
        "spec.env",
        "has 300 entries",
        "Write at most 256",
    ),
    (
        with_spec(placement={"topologyKey": ""}),
        "spec.placement.topologyKey",
        "'' is not allowed here",
        "Write a name as Kubernetes has them",
    ),
    (
        changed(lambda resource: resource["spec"]["model"].pop("name")),
        "spec.model.name",
        "is missing",
        "Add it: name that clients put into the model field of a request",
    ),
    (changed(lambda resource: resource.pop("spec")), "spec", "is missing", "Add it"),
    (changed(lambda resource: resource["metadata"].pop("name")), "metadata.name", "is missing", "Add it"),
    (
        changed(lambda resource: resource["metadata"].update(name="7b")),
        "metadata.name",
        "'7b' is not allowed here",
        "beginning with a letter",
    ),
    (
        changed(lambda resource: resource.pop("apiVersion")),
        "apiVersion",
        "is missing",
        "Write apiVersion: disagg.dev/v1alpha1",
    ),
    (
        changed(lambda resource: resource.update(kind="Deployment")),
        "kind",
        "'Deployment' is not allowed",
        "DisaggDeployment",
    ),
    (
        changed(lambda resource: resource.update(sepc={})),
        "sepc",
        "there is no such field",
        "Did you mean spec?",
    ),
    (
        with_spec(prefill={"engineConfig": {"x": math.nan}}),
        "spec.prefill.engineConfig.x",
        "is no number that JSON can express",
        "Write a finite number",
    ),
    (
        with_spec(prefill={"engineConfig": {"x": "\ud800"}}),
        "spec.prefill.engineConfig.x",
        "holds half a character",
        "Write whole Unicode characters",
    ),
    (
        with_spec(prefill={"engineConfig": nested(200)}),
        "spec.prefill.engineConfig.x.x.x.x.x",
        "is nested more than",
        "Write fewer levels",
    ),
    (
        with_spec(prefill={"a\n\u202eb\x1b": 1}),
        "spec.prefill[a\\n\\u202eb\\x1b]",
        "there is no such field",
        "Known fields",
    ),
    (
        changed(lambda resource: resource["metadata"].update(labels={"a": "b c"})),
        "metadata.labels.a",
        "'b c' is not allowed here",
        "Write letters, digits",
    ),
    (
        changed(lambda resource: resource["metadata"].update(lables={})),
        "metadata.lables",
        "there is no such field",
        "Did you mean labels?",
    ),
]


@pytest.mark.parametrize(
    ("resource", "field", "fault", "remedy"), TABLE, ids=[f"{r[1]}: {r[2]}" for r in TABLE]
)
def test_each_fault_has_its_words(resource: dict[str, Any], field: str, fault: str, remedy: str) -> None:
    (problem,) = problems(resource)
    assert problem.field == field
    assert fault in problem.fault
    assert remedy in problem.remedy


@pytest.mark.parametrize("resource", [None, [], "text", 5])
def test_what_is_no_object_is_refused(resource: Any) -> None:
    (problem,) = problems(resource)
    assert problem.fault == "is not an object"


def test_all_faults_are_reported_at_once_in_order() -> None:
    found = problems(with_spec(zzz=1, decode={"replicas": -1}, prefill=3))
    assert [each.field for each in found] == ["spec.decode.replicas", "spec.prefill", "spec.zzz"]


def test_a_secret_in_the_wrong_place_is_not_repeated() -> None:
    secret = "hf_do_not_print"  # noqa: S105 - made up
    source = {"huggingFace": {"repository": "a/b", "tokenSecretRef": secret}}
    text = str(Refusal(problems(with_spec(model={"name": "m", "source": source}))))
    assert "tokenSecretRef" in text
    assert secret not in text


def test_a_status_of_another_version_does_no_harm() -> None:
    assert accept({**GOOD, "status": {"fromTheFuture": True, "conditions": 5}}).status.conditions == []


def test_metadata_of_the_api_server_is_taken() -> None:
    metadata = {
        "name": "good",
        "namespace": "team",
        "uid": "1",
        "generation": 4,
        "resourceVersion": "7",
        "managedFields": [{"manager": "kubectl"}],
        "labels": None,
        "annotations": {"a": "b"},
    }
    parsed = parse({**GOOD, "metadata": metadata}).metadata
    assert (parsed.namespace, parsed.uid, parsed.generation) == ("team", "1", 4)
    assert parsed.annotations == {"a": "b"}


def test_null_means_absent_in_our_part_and_stays_in_an_engines() -> None:
    parsed = parse(with_spec(prefill={"gpusPerNode": None, "engineConfig": {"cuda_graph_config": None}}))
    assert parsed.spec.prefill.engine_config == {"cuda_graph_config": None}
    assert parse(with_spec(prefill=None)).spec.prefill == RoleSpec()
    maps = {"devices": {"a": None}, "resources": {"requests": {"cpu": None, "memory": "1Gi"}}}
    prefill = parse(with_spec(prefill=maps)).spec.prefill
    assert prefill.devices == {}
    assert prefill.resources is not None
    assert prefill.resources.requests == {"memory": "1Gi"}


def test_views_of_an_api_object_are_read_like_dictionaries() -> None:
    assert parse(MappingProxyType({**GOOD, "spec": MappingProxyType(GOOD["spec"])})) == parse(GOOD)


def test_the_input_is_not_changed() -> None:
    before = copy.deepcopy(GOOD)
    parse(GOOD)
    assert before == GOOD


def test_paths_quote_what_is_no_identifier() -> None:
    assert path(("spec", "env", 0, "name")) == "spec.env[0].name"
    assert path(("spec", "nodeSelector", "a.b/c")) == "spec.nodeSelector[a.b/c]"


def test_models_are_found_by_path() -> None:
    assert model_at(("spec", "prefill")) is RoleSpec
    assert model_at(("spec", "prefill", "devices", "x")) is None
    assert model_at(("spec", "nothing")) is None


def test_every_pattern_has_words() -> None:
    schema = DisaggDeployment.model_json_schema(by_alias=True)

    def patterns(node: Any) -> Iterator[str]:
        if isinstance(node, dict):
            if isinstance(node.get("pattern"), str):
                yield node["pattern"]
            for child in node.values():
                yield from patterns(child)
        if isinstance(node, list):
            for child in node:
                yield from patterns(child)

    found = set(patterns(schema))
    assert len(found) > 5
    assert found <= set(WORDS)
