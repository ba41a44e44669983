"""The catalogue of Dynamo's releases: what each one has, and what is refused with it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from disagg_operator.api.parse import accept
from disagg_operator.api.problems import Refusal
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import HttpProbe, Plan, PodPlan
from disagg_operator.plan.planner import plan
from disagg_operator.platforms.catalogue import Catalogue, builtin
from disagg_operator.platforms.profile import RuntimeProfile
from unit.deployments import deployment_of, watched

RELEASES = builtin().runtimes["dynamo"]
STORES = {
    "etcd": {"endpoints": ["http://etcd:2379", "http://etcd-1:2379"]},
    "nats": {"server": "nats://nats:4222"},
}
OLD = [version for version, each in RELEASES.items() if each.discovery.nats and each.discovery.nats.needed]
ETCD_ONLY = [version for version in RELEASES if version.startswith("0.")]
IMAGES = "nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime"


def planned(version: str | None, architecture: str = "amd64", **spec: Any) -> Plan:
    runtime = {"version": version, **spec.pop("runtime", {})}
    discovery = {}
    if version in OLD:
        discovery = STORES
    elif version in ETCD_ONLY:
        discovery = {"etcd": STORES["etcd"]}
    resource = deployment_of(
        {
            "runtime": runtime,
            "discovery": discovery,
            "placement": {"nodeSelector": {"kubernetes.io/arch": architecture}},
            **spec,
        }
    )
    return plan(accept(resource), Installation(worker_image="worker:test"))


def variables(pod: PodPlan) -> dict[str, str | None]:
    return {each.name: each.value for each in pod.environment}


def following(command: tuple[str, ...], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_the_newest_release_is_the_default() -> None:
    assert next(iter(RELEASES)) == "1.6.1"
    assert planned(None).roles["decode"].pod.image == f"{IMAGES}:1.6.1"


def test_a_release_candidate_is_never_the_default_but_can_be_asked_for() -> None:
    newest = builtin().runtime_documents["dynamo-1.6.1"]
    names = ("1.7.0rc1", "1.10.0", "1.9.0", "1.10.0.post1")
    documents = {
        **builtin().runtime_documents,
        **{f"dynamo-{name}": {**newest, "version": name} for name in names},
    }
    catalogue = Catalogue({}, {}, documents)
    assert list(catalogue.runtimes["dynamo"])[:4] == ["1.10.0.post1", "1.10.0", "1.9.0", "1.6.1"]
    assert catalogue.runtime("dynamo", None, "trtllm").version == "1.10.0.post1"
    assert catalogue.runtime("dynamo", "1.7.0rc1", "trtllm").version == "1.7.0rc1"


def test_a_part_that_releases_are_like_is_no_release() -> None:
    assert not [version for version in RELEASES if version.startswith("_")]
    assert [name for name in builtin().runtime_documents if name.startswith("_")]


def test_an_unknown_version_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(Refusal, match=r"spec\.runtime\.version: not supported yet: dynamo '2\.0' ?.*1\.6\.1"):
        planned("2.0")


@pytest.mark.parametrize("version", [version for version in RELEASES if version != "1.6.1"])
def test_the_reference_engine_runs_only_with_the_release_that_it_was_tried_with(version: str) -> None:
    resource = deployment_of(
        {
            "model": {"name": "m", "source": {"runtimeImage": {"path": "/m"}}},
            "runtime": {"engine": "reference", "version": version},
        }
    )
    with pytest.raises(
        Refusal, match=rf"dynamo {version} is not known with the engine reference\. Write one of: 1\.6\.1"
    ):
        plan(accept(resource), Installation(worker_image="worker:test"))
    tried = {each for each, profile in RELEASES.items() for found in profile.engines.values() if found.tried}
    assert tried == {"1.6.1"}


@pytest.mark.parametrize(
    ("version", "engine", "default", "architectures"),
    [
        ("0.4.1", "1.0.0rc6", "UCX", ["amd64"]),
        ("0.6.1", "1.1.0rc5", "UCX", ["amd64"]),
        ("0.7.1", "1.2.0rc3", "UCX", ["amd64"]),
        ("0.8.1", "1.2.0rc6.post1", "NIXL", ["amd64", "arm64"]),
        ("0.9.1", "1.3.0rc3", "NIXL", ["amd64", "arm64"]),
        ("1.0.1", "1.3.0rc5.post1", "NIXL", ["amd64", "arm64"]),
        ("1.1.1", "1.3.0rc11", "NIXL", ["amd64", "arm64"]),
        ("1.2.1", "1.3.0rc14", "NIXL", ["amd64", "arm64"]),
        ("1.3.1", "1.3.0rc19", "NIXL", ["amd64", "arm64"]),
        ("1.4.2", "1.3.0rc22", "NIXL", ["amd64", "arm64"]),
        ("1.5.1", "1.3.0rc25", "NIXL", ["amd64", "arm64"]),
        ("1.6.1", "1.3.0rc29", "NIXL", ["amd64", "arm64"]),
    ],
)
def test_engine_default_method_and_where_nixl_runs(
    version: str, engine: str, default: str, architectures: list[str]
) -> None:
    assert RELEASES[version].engines["trtllm"].version == engine
    for architecture in ("amd64", "arm64"):
        own = {"image": "own:1"}
        assert planned(version, architecture, runtime=own).transfer.method == default
        nixl: dict[str, Any] = {"runtime": own, "transfer": {"method": "NIXL"}}
        if architecture in architectures:
            assert str(planned(version, architecture, **nixl).transfer) == "NIXL/UCX"
        else:
            with pytest.raises(Refusal, match=r"NIXL needs architecture amd64 \(here: arm64\).* Write UCX"):
                planned(version, architecture, **nixl)


@pytest.mark.parametrize("version", [version for version in RELEASES if version not in OLD])
def test_nixl_runs_from_a_published_image_since_it_is_the_default(version: str) -> None:
    assert planned(version).roles["decode"].pod.image == f"{IMAGES}:{version}"


@pytest.mark.parametrize("version", OLD)
def test_nixl_of_2025_needs_an_image_that_was_built_with_it(version: str) -> None:
    with pytest.raises(
        Refusal, match=r"spec\.runtime\.image: .*`make image-trtllm ERA=2025-.* TRANSFER=NIXL`"
    ):
        planned(version, transfer={"method": "NIXL"})


def test_ucx_of_2025_runs_from_a_published_image_where_there_is_one() -> None:
    assert planned("0.6.1").frontend.pod.image == f"{IMAGES}:0.6.1"
    assert planned("0.7.1").roles["prefill"].pod.image == f"{IMAGES}:0.7.1"
    with pytest.raises(Refusal, match=r"spec\.runtime\.image: .*make image-trtllm .* TRANSFER=UCX"):
        planned("0.4.1")


@pytest.mark.parametrize(
    ("version", "architecture", "tag"),
    [
        ("1.0.1", "amd64", "1.0.1-efa-amd64"),
        ("1.0.1", "arm64", "1.0.1"),
        ("1.1.1", "amd64", "1.1.1-efa-amd64"),
        ("1.1.1", "arm64", "1.1.1"),
        ("1.2.1", "arm64", "1.2.1-efa-amd64"),
        ("1.3.1", "arm64", "1.3.1-efa"),
        ("1.6.1", "amd64", "1.6.1-efa"),
    ],
)
def test_image_on_efa(version: str, architecture: str, tag: str) -> None:
    images = RELEASES[version].engines["trtllm"].images
    facts = {"kind": "efa", "architecture": architecture, "method": "NIXL"}
    chosen = next(
        image for image in images if all(facts[name] in allowed for name, allowed in image.when.items())
    )
    assert chosen.value == f"{IMAGES}:{tag}"


@pytest.mark.parametrize("version", RELEASES)
def test_worker_command(version: str) -> None:
    for role in ("prefill", "decode"):
        command = watched(planned(version, runtime={"image": "own:1"}).roles[role].pod.command)
        assert command[:3] == ("python3", "-m", "dynamo.trtllm")
        assert following(command, "--model-path" if version in ETCD_ONLY else "--model") == "org/m"
        assert following(command, "--served-model-name") == "m"
        assert following(command, "--extra-engine-args") == "/etc/disagg/engine.yaml"
        assert following(command, "--disaggregation-mode") == role
        strategy = "--disaggregation-strategy"
        assert (strategy in command) == (version in ("0.4.1", "0.6.1"))
        assert strategy not in command or following(command, strategy) == "decode_first"


def test_workers_of_the_oldest_release_name_their_endpoints() -> None:
    result = planned("0.4.1", runtime={"image": "own:1"})
    newer = planned("0.6.1", runtime={"image": "own:1"})
    scope = variables(newer.roles["decode"].pod)["DYN_NAMESPACE"]
    assert "DYN_NAMESPACE" not in variables(result.roles["decode"].pod)
    decode, prefill = (result.roles[role].pod.command for role in ("decode", "prefill"))
    assert following(decode, "--endpoint") == f"dyn://{scope}.tensorrt_llm.generate"
    assert following(decode, "--next-endpoint") == following(prefill, "--endpoint")
    assert following(prefill, "--next-endpoint") == ""


@pytest.mark.parametrize("version", RELEASES)
def test_frontends_serve_the_models_of_their_own_deployment(version: str) -> None:
    command = planned(version, runtime={"image": "own:1"}).frontend.pod.command
    scoped = "--namespace" if version in ETCD_ONLY else "--namespace-prefix"
    assert (scoped in command) == (version != "0.4.1")


@pytest.mark.parametrize("version", ETCD_ONLY)
def test_releases_without_scopes_for_revisions_are_recreated(version: str) -> None:
    own: dict[str, Any] = {"runtime": {"image": "own:1"}}
    result = planned(version, **own)
    assert result.strategy == "Recreate"
    assert "DYN_NAMESPACE_WORKER_SUFFIX" not in variables(result.roles["decode"].pod)
    with pytest.raises(Refusal, match=r"spec\.rollout\.strategy: Surge cannot be used .* Write Recreate"):
        planned(version, rollout={"strategy": "Surge"}, **own)


def test_newer_releases_surge_unless_asked_otherwise() -> None:
    assert planned("1.0.1").strategy == "Surge"
    assert planned("1.0.1", rollout={"strategy": "Recreate"}).strategy == "Recreate"


@pytest.mark.parametrize("version", ETCD_ONLY)
def test_releases_before_1_register_in_etcd(version: str) -> None:
    environment = variables(planned(version, runtime={"image": "own:1"}).roles["prefill"].pod)
    assert environment["ETCD_ENDPOINTS"] == "http://etcd:2379,http://etcd-1:2379"
    assert environment.get("NATS_SERVER") == ("nats://nats:4222" if version in OLD else None)
    assert "POD_UID" not in environment
    with pytest.raises(Refusal, match=r"spec\.discovery\.backend: .* no discovery through kubernetes"):
        planned(version, discovery={"backend": "kubernetes"})


def test_etcd_is_meant_where_it_is_named_and_nats_is_refused_without_use() -> None:
    environment = variables(
        planned("1.6.1", discovery={"etcd": {"endpoints": ["http://e:2379"]}}).frontend.pod
    )
    assert environment["DYN_DISCOVERY_BACKEND"] == "etcd"
    assert environment["ETCD_ENDPOINTS"] == "http://e:2379"
    assert "POD_NAME" not in environment
    with pytest.raises(Refusal, match=r"spec\.discovery\.nats: .* needs no NATS.* Leave it out"):
        planned("0.9.1", discovery={"nats": {"server": "nats://n:4222"}})


@pytest.mark.parametrize("version", RELEASES)
def test_a_frontend_sees_the_model_where_workers_do_not_serve_its_card(version: str) -> None:
    source = {"persistentVolumeClaim": {"claimName": "models", "path": "m"}}
    result = planned(version, runtime={"image": "own:1"}, model={"name": "m", "source": source})
    mounted = "model" in {mount.name for mount in result.frontend.pod.mounts}
    assert mounted == (version < "1.4")


@pytest.mark.parametrize("version", RELEASES)
def test_readiness_of_a_frontend_asks_for_the_model_where_it_can(version: str) -> None:
    readiness = planned(version, runtime={"image": "own:1"}).frontend.pod.readiness
    assert isinstance(readiness, HttpProbe)
    assert readiness.path == ("/v1/models/m/ready" if version >= "1.3" else "/health")


@pytest.mark.parametrize("profile", RELEASES.values(), ids=list(RELEASES))
def test_values_of_a_release_say_why_and_where_they_stand(profile: RuntimeProfile) -> None:
    engine = profile.engines["trtllm"]
    for value in (*profile.environment, *profile.strategies, *engine.methods, *engine.settings):
        assert value.line.startswith("runtimes/")


def test_engine_files_are_yaml() -> None:
    for version in RELEASES:
        files = planned(version, runtime={"image": "own:1"}).roles["decode"].files
        assert yaml.safe_load(files["engine.yaml"])["tensor_parallel_size"] == 1


def test_the_table_of_releases_says_what_the_profiles_say() -> None:
    document = Path(__file__).resolve().parents[3] / "docs/runtimes.md"
    lines = [line for line in document.read_text().splitlines() if re.match(r"\| \d+\.\d+\.\d+ \| \d", line)]
    assert lines == [_row(profile) for profile in RELEASES.values()]


def _row(profile: RuntimeProfile) -> str:
    engine = profile.engines["trtllm"]
    choices = (engine.methods, engine.nixl_backends, profile.discovery.backends)
    methods, plugins, backends = (", ".join(each.value for each in values) for values in choices)
    use = profile.discovery.nats
    nats = "no" if use is None else "needed" if use.needed else "if asked for"
    strategies = ", ".join(each.value for each in profile.strategies)
    kvbm = "yes" if engine.kvbm else "no"
    cells = (profile.version, engine.version, methods, plugins, backends, nats, strategies, kvbm)
    return f"| {' | '.join(cells)} |"
