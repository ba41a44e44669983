"""What fetches a model into a cache, as it is planned and built."""

from typing import Any

import pytest

from disagg_operator.api.parse import accept
from disagg_operator.build.objects import shared_objects, worker_objects
from disagg_operator.plan.explanation import explained
from disagg_operator.plan.installation import Installation
from disagg_operator.plan.model import Plan
from disagg_operator.plan.planner import plan
from unit.deployments import deployment_of

CLAIM = {"persistentVolumeClaim": {"claimName": "models", "path": "hub"}}
NODE = {"node": {"path": "/var/lib/models"}}
ENGINES = ({"engine": "reference"}, {"engine": "trtllm", "image": "own:1"})


def planned(cache: dict[str, Any] | None = CLAIM, image: str = "worker:test", **changes: Any) -> Plan:
    hub = {"repository": "acme/tiny", **({"cache": cache} if cache else {}), **changes.pop("hub", {})}
    spec = {
        "model": {"name": "m", "source": {"huggingFace": hub}},
        "runtime": ENGINES[0],
        "placement": {"nodeSelector": {"kubernetes.io/arch": "amd64"}},
        **changes,
    }
    return plan(accept(deployment_of(spec, namespace="ns", uid="u-1")), Installation(worker_image=image))


def jobs(result: Plan) -> list[dict[str, Any]]:
    return [each for each in shared_objects(result) if each["kind"] == "Job"]


def workers(result: Plan) -> list[dict[str, Any]]:
    return [
        each["spec"]["template"]["spec"] for each in worker_objects(result) if each["kind"] == "StatefulSet"
    ]


@pytest.mark.parametrize("runtime", ENGINES, ids=lambda each: each["engine"])
def test_one_job_fetches_what_workers_of_any_engine_read(runtime: dict[str, str]) -> None:
    result = planned(runtime=runtime)
    (job,) = jobs(result)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "worker:test"
    assert container["command"][:3] == ["disagg-worker", "download", "acme/tiny"]
    directory = container["command"][3]
    assert directory.startswith("/models/volume/hub/acme--tiny/")
    assert {"name": "model", "persistentVolumeClaim": {"claimName": "models"}} in pod["volumes"]
    claim = {"claimName": "models", "readOnly": True}
    for worker in workers(result):
        assert {"name": "model", "persistentVolumeClaim": claim} in worker["volumes"]
        (engine,) = worker["containers"]
        assert {"name": "model", "mountPath": "/models/volume", "readOnly": True} in engine["volumeMounts"]
        assert not [each for each in engine["env"] if each["name"].startswith("HF_")]
    read = [str(role.pod.command) + "".join(role.files.values()) for role in result.roles.values()]
    assert all(directory in each for each in read)


def test_the_job_asks_for_no_privilege_and_no_kubernetes_api() -> None:
    (job,) = jobs(planned())
    pod = job["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    context = pod["containers"][0]["securityContext"]
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.parametrize("runtime", ENGINES, ids=lambda each: each["engine"])
def test_a_cache_of_the_node_is_filled_before_the_engine_starts(runtime: dict[str, str]) -> None:
    result = planned(NODE, runtime=runtime)
    assert not jobs(result)
    for worker in workers(result):
        names = [each["name"] for each in worker["initContainers"]]
        fetches = worker["initContainers"][names.index("fetch-model")]
        assert {"name": "model", "mountPath": "/models/volume"} in fetches["volumeMounts"]
        assert fetches["securityContext"]["runAsUser"] == 65532
        assert fetches["resources"]["requests"] == fetches["resources"]["limits"]
        (engine,) = worker["containers"]
        assert {"name": "model", "mountPath": "/models/volume", "readOnly": True} in engine["volumeMounts"]
        path = {"path": "/var/lib/models", "type": "Directory"}
        assert {"name": "model", "hostPath": path} in worker["volumes"]


def test_only_what_decides_the_files_decides_their_directory() -> None:
    def directory(**changes: Any) -> str:
        return str(jobs(planned(**changes))[0]["spec"]["template"]["spec"]["containers"][0]["command"][3])

    usual = directory()
    for hub in ({"revision": "v2"}, {"endpoint": "https://mirror"}, {"files": ["*.json"]}):
        assert directory(hub=hub) != usual
    assert directory(hub={"tokenSecretRef": {"name": "hf", "key": "token"}}) == usual
    assert directory(image="worker:2") == usual


def test_another_token_or_image_is_no_other_revision() -> None:
    def revision(cache: dict[str, Any], **changes: Any) -> str:
        return planned(cache, runtime=ENGINES[1], **changes).revision

    token = {"tokenSecretRef": {"name": "hf", "key": "token"}}
    for cache in (CLAIM, NODE):
        usual = revision(cache)
        assert revision(cache, hub=token) == usual
        assert revision(cache, image="worker:2") == usual
        assert revision(cache, hub={"revision": "v2"}) != usual


def test_another_token_is_another_job_and_another_image_is_not() -> None:
    def name(**changes: Any) -> str:
        return str(jobs(planned(**changes))[0]["metadata"]["name"])

    assert name(hub={"tokenSecretRef": {"name": "hf", "key": "token"}}) != name()
    assert name(image="worker:2") == name()


def test_the_download_knows_the_way_to_the_hub() -> None:
    env = [{"name": "https_proxy", "value": "http://p:1"}, {"name": "UNRELATED", "value": "1"}]
    hub = {"endpoint": "https://mirror", "tokenSecretRef": {"name": "hf", "key": "token"}}
    (job,) = jobs(planned(env=env, hub={**hub, "revision": "v1", "files": ["*.json", "*.gguf"]}))
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = {each["name"]: each for each in container["env"]}
    assert given.keys() == {"HOME", "https_proxy", "HF_TOKEN", "HF_ENDPOINT"}
    assert given["HF_TOKEN"]["valueFrom"] == {"secretKeyRef": {"name": "hf", "key": "token"}}
    assert container["command"][4:] == ["--revision", "v1", "--files", "*.json", "--files", "*.gguf"]


def test_an_engine_that_downloads_by_itself_knows_the_mirror_too() -> None:
    result = planned(None, runtime=ENGINES[1], hub={"endpoint": "https://mirror"})
    assert not jobs(result)
    for worker in workers(result):
        assert {"name": "HF_ENDPOINT", "value": "https://mirror"} in worker["containers"][0]["env"]


def test_every_setting_of_a_download_says_why() -> None:
    told = {(each.kind, each.name): each for each in explained(planned())}
    assert told["model", "fetched into"].value == "PersistentVolumeClaim models"
    assert told["model", "fetched into"].source == "spec.model.source.huggingFace.cache"


@pytest.mark.parametrize("source", [{"image": {"reference": "registry/model:1", "path": "m"}}])
def test_the_reference_engine_reads_a_model_from_an_image_volume(source: dict[str, Any]) -> None:
    result = planned(model={"name": "m", "source": source})
    for worker in workers(result):
        assert {"name": "model", "image": {"reference": "registry/model:1"}} in worker["volumes"]
    assert all("/models/volume/m" in role.files["engine.yaml"] for role in result.roles.values())
