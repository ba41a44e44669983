"""Rules about what the model is called and where its files come from."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from pydantic import BaseModel

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.api.v1alpha1.runtime import Engine
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

_SOURCE = "spec.model.source"
_HUB = f"{_SOURCE}.huggingFace"


def _one_source(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    yield from _exactly_one(spec.model.source, _SOURCE, "source")


def _one_cache(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    hub = spec.model.source.hugging_face
    if hub is not None and hub.cache is not None:
        yield from _exactly_one(hub.cache, f"{_HUB}.cache", "cache")


def _exactly_one(model: BaseModel, field: str, called: str) -> Iterator[Finding]:
    fields = type(model).model_fields
    given = [found.alias or name for name, found in fields.items() if getattr(model, name) is not None]
    if len(given) == 1:
        return
    names = ", ".join(found.alias or name for name, found in fields.items())
    fault = f"names {len(given)} {called}s ({', '.join(given)})" if given else f"names no {called}"
    yield Finding(field, fault, f"Write exactly one of {names}")


def _path_inside(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    source = spec.model.source
    cache = source.hugging_face.cache if source.hugging_face else None
    places = {
        f"{_SOURCE}.persistentVolumeClaim": source.persistent_volume_claim,
        f"{_SOURCE}.image": source.image,
        f"{_HUB}.cache.persistentVolumeClaim": cache.persistent_volume_claim if cache else None,
    }
    for field, place in places.items():
        if place is not None and (place.path.startswith("/") or _climbs(place.path)):
            yield Finding(
                f"{field}.path", "leaves the volume", "Write a path relative to its root, without '..'"
            )
    if cache is not None and cache.node is not None and _climbs(cache.node.path):
        yield Finding(f"{_HUB}.cache.node.path", "holds '..'", "Write the path without '..'")


def _climbs(path: str) -> bool:
    return ".." in PurePosixPath(path).parts


def _files_need_cache(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    hub = spec.model.source.hugging_face
    if hub is not None and hub.files is not None and hub.cache is None:
        fault = "has an effect with a cache only: an engine that downloads by itself chooses by itself"
        yield Finding(f"{_HUB}.files", fault, "Leave it out, or write cache")


def _reference_cache(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    hub = spec.model.source.hugging_face
    if spec.runtime.engine == Engine.REFERENCE and hub is not None and hub.cache is None:
        fault = "is missing: the reference engine downloads nothing by itself"
        yield Finding(f"{_HUB}.cache", fault, "Write persistentVolumeClaim or node, to have files fetched")


def _option(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    hub = spec.model.source.hugging_face
    words = {"spec.model.name": spec.model.name}
    if hub is not None:
        words |= {f"{_HUB}.repository": hub.repository, f"{_HUB}.revision": hub.revision or ""}
        words |= {f"{_HUB}.files[{index}]": each for index, each in enumerate(hub.files or ())}
    for path, word in words.items():
        if word.startswith("-"):
            fault = "begins with '-', as options of the programs do that are given it"
            yield Finding(path, fault, "Write it without '-' at its beginning")


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule("model-one-source", "docs: spec.model.source", _one_source, says="names no source or several"),
    Rule(
        "model-one-cache",
        "docs: spec.model.source.huggingFace.cache",
        _one_cache,
        says="names no cache or several",
    ),
    Rule(
        "model-path-inside",
        "https://kubernetes.io/docs/concepts/storage/volumes/#using-subpath",
        _path_inside,
    ),
    Rule("model-files-need-cache", "docs: spec.model.source.huggingFace.files", _files_need_cache),
    Rule("text-no-option", "POSIX: utility syntax guidelines", _option),
    Rule("model-fetched-for-reference", "docs/models.md", _reference_cache),
)
