"""Any specification either plans or gets a readable refusal, and plans keep their promises."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from disagg_operator.platforms.catalogue import builtin

INSTALLATION = Installation(worker_image="worker:test")
words = st.text("abz-019.", min_size=0, max_size=70)
small = st.integers(-2, 2000)
anything = st.none() | st.booleans() | small | words | st.lists(small, max_size=2)


def sometimes(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


env = st.lists(sometimes(name=st.sampled_from(["A", "B", "DYN_NAMESPACE", "1x"]), value=words), max_size=3)
quantities = st.dictionaries(st.sampled_from(["cpu", "memory"]), st.sampled_from(["1", 2, "16Gi", "x"]))
role = sometimes(
    replicas=small,
    nodesPerReplica=st.integers(0, 3),
    gpusPerNode=st.integers(0, 9),
    parallelism=sometimes(tensor=st.integers(0, 9)),
    engineConfig=sometimes(
        kv_cache=sometimes(block_tokens=st.integers(-1, 300), memory_mib=anything),
        scheduler=sometimes(max_batch_size=anything),
        typo=anything,
    ),
    env=env,
    resources=sometimes(requests=quantities, limits=quantities),
    podTemplate=sometimes(
        metadata=sometimes(labels=st.just({"a": "b"})), spec=st.just({"hostNetwork": True})
    ),
)
source = sometimes(
    runtimeImage=sometimes(path=st.sampled_from(["/models/a", "relative", ""])),
    persistentVolumeClaim=sometimes(claimName=words, path=words),
    huggingFace=sometimes(repository=words),
)
specs = sometimes(
    model=sometimes(name=words, source=source),
    platform=st.sampled_from(["generic", "local", "nowhere", ""]),
    runtime=sometimes(
        engine=st.sampled_from(["reference", "trtllm", "vllm", "sglang", "mocker", "none"]),
        frontend=st.sampled_from(["dynamo", "trtllm-serve"]),
        version=st.sampled_from(["1.6.1", "0.4", "x"]),
        image=words,
    ),
    transfer=sometimes(method=st.sampled_from(["NIXL", "UCX"]), timeoutSeconds=small),
    prefill=role,
    decode=role,
    frontend=sometimes(
        replicas=small, port=st.integers(0, 70000), routerMode=st.sampled_from(["random", "kv"])
    ),
    env=env,
    rollout=sometimes(strategy=st.sampled_from(["Surge", "Recreate", "Big"])),
    verification=sometimes(mode=st.sampled_from(["Off", "Warn", "Enforce"])),
    surprise=anything,
)
good_specs = st.fixed_dictionaries(
    {
        "model": st.fixed_dictionaries(
            {
                "name": st.sampled_from(["m", "org/model"]),
                "source": st.just({"runtimeImage": {"path": "/models/a"}}),
            }
        ),
        "runtime": st.just({"engine": "reference"}),
    },
    optional={
        "platform": st.sampled_from(["generic", "local"]),
        "prefill": st.fixed_dictionaries({"replicas": st.integers(0, 1000)}),
        "decode": st.fixed_dictionaries({"replicas": st.integers(0, 1000)}),
        "frontend": st.fixed_dictionaries({"replicas": st.integers(0, 100), "port": st.integers(1024, 9089)}),
        "env": st.just([{"name": "A", "value": "b"}]),
        "rollout": st.sampled_from([{"strategy": "Surge"}, {"strategy": "Recreate"}]),
    },
)
names = st.from_regex(r"\A[a-z]([-a-z0-9]{0,61}[a-z0-9])?\Z")


def resource(spec: Any, name: str = "x") -> dict[str, Any]:
    return {
        "apiVersion": "disagg.dev/v1alpha1",
        "kind": "DisaggDeployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def planned(spec: Any, name: str = "x") -> Plan:
    return plan(accept(resource(spec, name)), INSTALLATION)


def planned_or_refused(spec: Any) -> Plan | Refusal:
    try:
        return planned(spec)
    except Refusal as refusal:
        return refusal


@given(specs)
@settings(max_examples=300)
def test_any_specification_plans_or_is_refused_readably(spec: dict[str, Any]) -> None:
    outcome = planned_or_refused(spec)
    if isinstance(outcome, Plan):
        assert worker_objects(outcome)
        return
    assert outcome.problems
    for problem in outcome.problems:
        assert problem.field.startswith("spec")
        assert problem.fault
        assert problem.remedy


odd = anything | st.sampled_from(
    [[], {}, {"a": [None]}, "fp8", "NIXL", "PYTHON", True, 0, -32, 33, 64, 10**9]
)
trtllm_role = sometimes(
    parallelism=sometimes(tensor=st.sampled_from([1, 2]), pipeline=st.sampled_from([1, 2])),
    engineConfig=sometimes(
        kv_cache_config=odd | sometimes(dtype=odd, tokens_per_block=odd, enable_block_reuse=odd),
        cache_transceiver_config=odd
        | sometimes(
            backend=odd,
            max_tokens_in_buffer=odd,
            kv_transfer_timeout_ms=odd,
            kv_transfer_sender_future_timeout_ms=odd,
            transceiver_runtime=odd,
            enable_pipelined_transfer=odd,
            typo=odd,
        ),
        speculative_config=odd | sometimes(decoding_type=odd),
        max_seq_len=odd,
        max_num_tokens=odd,
        max_beam_width=odd,
        tensor_parallel_size=odd,
        disable_overlap_scheduler=odd,
    ),
)
trtllm_specs = st.fixed_dictionaries(
    {
        "model": st.just({"name": "m", "source": {"huggingFace": {"repository": "org/m"}}}),
        "runtime": st.fixed_dictionaries(
            {
                "version": st.sampled_from(sorted(builtin().runtimes["dynamo"])),
                "image": st.just("own:1"),
            }
        ),
    },
    optional={
        "platform": st.sampled_from(["generic", "aws-p5.48xlarge", "gb200-nvl72"]),
        "transfer": sometimes(
            method=st.sampled_from(["NIXL", "UCX", "MPI", "MOONCAKE"]),
            nixlBackend=st.sampled_from(["UCX", "LIBFABRIC"]),
            maxTokensInBuffer=st.sampled_from([0, 33, 64]),
            kvbm=sometimes(nixlBackends=st.sampled_from([{"UCX": True}, {"x": True}]), cpuCacheGb=st.just(1)),
        ),
        "discovery": sometimes(etcdEndpoints=st.just(["http://e:2379"]), natsServer=st.just("nats://n:4222")),
        "prefill": trtllm_role,
        "decode": trtllm_role,
    },
)


@given(trtllm_specs)
@settings(max_examples=300)
def test_any_engine_setting_of_any_release_plans_or_is_refused_readably(spec: dict[str, Any]) -> None:
    outcome = planned_or_refused(spec)
    if isinstance(outcome, Plan):
        transceivers = [role.engine_config["cache_transceiver_config"] for role in outcome.roles.values()]
        assert {each["backend"].upper() for each in transceivers} == {outcome.transfer.method}
        assert worker_objects(outcome)
        return
    for problem in outcome.problems:
        assert problem.field.startswith("spec")
        assert problem.fault
        assert problem.remedy


@given(good_specs, names)
def test_names_and_labels_fit_kubernetes(spec: dict[str, Any], name: str) -> None:
    found = planned(spec, name)
    for each in [*shared_objects(found), *worker_objects(found)]:
        assert len(each["metadata"]["name"]) <= 63
        assert all(len(value) <= 63 for value in each["metadata"]["labels"].values())
        pods = each["spec"].get("replicas", 0) if each["kind"] == "StatefulSet" else 0
        assert len(f"{each['metadata']['name']}-{max(pods - 1, 0)}") <= 63


@given(good_specs, st.integers(0, 1000), st.integers(0, 1000))
def test_replica_counts_are_not_part_of_the_revision(spec: dict[str, Any], prefill: int, decode: int) -> None:
    scaled = {**spec, "prefill": {"replicas": prefill}, "decode": {"replicas": decode}}
    assert planned(spec).revision == planned(scaled).revision


@given(good_specs)
def test_an_image_is_part_of_the_revision(spec: dict[str, Any]) -> None:
    changed = {**spec, "runtime": {"engine": "reference", "image": "other:1"}}
    assert planned(spec).revision != planned(changed).revision


@given(good_specs)
def test_the_same_input_gives_the_same_objects(spec: dict[str, Any]) -> None:
    first, second = planned(spec), planned(spec)
    assert first == second
    assert worker_objects(first) == worker_objects(second)
