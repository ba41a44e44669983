"""Rules about pods as they are made: what a template lacks beside derived parts, and how large all may be."""

import json
from collections.abc import Iterator, Mapping, Set
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule
from disagg_operator.api.admission.templates import entries, mapping, templates
from disagg_operator.plan import names
from disagg_operator.plan.model import PodPlan
from disagg_operator.plan.rules.subject import Subject

WORKER = "worker"
"""Name of the container that serves in a worker's pod; in a frontend's it is `names.FRONTEND`."""
FILES = "config"
"""Name of the volume with the files of a pod's ConfigMap."""

_MEBIBYTE = 1024**2
_LARGEST_POD = _MEBIBYTE // 2
"""Bytes of what a user adds to a pod. etcd takes objects of 1.5 MiB, and a pod has the variables twice."""


def _pods(subject: Subject) -> Iterator[tuple[str, PodPlan]]:
    for path, role in subject.roles():
        yield path, role.pod
    yield "spec.frontend", subject.plan.frontend.pod


def _written(subject: Subject) -> Iterator[tuple[str, Mapping[str, Any], PodPlan]]:
    """Yield pod templates with their paths and what is derived for their pods."""
    pods = dict(_pods(subject))
    for path, template in templates(subject.spec):
        yield path, mapping(template, "spec"), pods[path.removesuffix(".podTemplate")]


def starting(pod: PodPlan) -> set[str]:
    """Return the names of the init containers that are derived for a pod."""
    parts: Mapping[str, object] = {
        "preflight": pod.check,
        "fetch-model": pod.download,
        "complete-settings": pod.prepare,
        "await-services": pod.gate,
        "transport-agent": pod.agent,
    }
    return {name for name, part in parts.items() if part is not None}


def _images(subject: Subject) -> Iterator[Finding]:
    for path, spec, pod in _written(subject):
        for key, derived in (("containers", {_serving(path)}), ("initContainers", starting(pod))):
            for place, each in entries(f"{path}.spec", spec, key):
                if each.get("name") not in derived and not each.get("image") and "$patch" not in each:
                    yield Finding(f"{place}.image", "is missing", "Add it: the image of your own container")


def _volumes(subject: Subject) -> Iterator[Finding]:
    for path, spec, pod in _written(subject):
        derived = _derived(pod)
        for place, each in entries(f"{path}.spec", spec, "volumes"):
            sources = {
                key for key, value in each.items() if key not in ("name", "$patch") and value is not None
            }
            known = derived.get(str(each.get("name")), set())
            if "$patch" in each:
                continue
            if not sources | known:
                yield Finding(place, "says of no volume what it is", "Write its source, such as emptyDir: {}")
            elif (
                len(sources | known) > 1 and not {key for key in known if each.get(key, "") is None} >= known
            ):
                both = " and ".join(sorted(sources | known))
                yield Finding(
                    place, f"would be of several sorts: {both}", "Write one of them, or another name"
                )


def _mounts(subject: Subject) -> Iterator[Finding]:
    for path, spec, pod in _written(subject):
        known = _known_volumes(pod, spec)
        for key in ("containers", "initContainers"):
            for place, container in entries(f"{path}.spec", spec, key):
                for field, mount in entries(place, container, "volumeMounts"):
                    if "$patch" not in mount and mount.get("name") not in (None, *known):
                        fault = f"the pod has no volume {mount.get('name')}"
                        yield Finding(f"{field}.name", fault, f"Add it to {path}.spec.volumes")


def _one_name(subject: Subject) -> Iterator[Finding]:
    for path, spec, pod in _written(subject):
        first = {each.get("name") for _, each in entries(path, spec, "initContainers")}
        then = {_serving(path), *(each.get("name") for _, each in entries(path, spec, "containers"))}
        for key, others in (("containers", first | starting(pod)), ("initContainers", then)):
            for place, each in entries(f"{path}.spec", spec, key):
                if each.get("name") in others and "$patch" not in each:
                    fault = f"a container and an init container would both be called {each['name']}"
                    yield Finding(f"{place}.name", fault, "Give each a name of its own")


def _file_variables(subject: Subject) -> Iterator[Finding]:
    for path, pod in _pods(subject):
        known = _known_volumes(pod, mapping(pod.overrides, "spec"))
        for each in pod.environment:
            file = mapping(each.value_from or {}, "fileKeyRef")
            if file and file.get("volumeName") not in known:
                fault = (
                    f"takes {each.name} from a file of volume {file.get('volumeName')}, which the pod has not"
                )
                yield Finding(f"{path}.env", fault, f"Add the volume to {path}.podTemplate.spec.volumes")


def _serving(path: str) -> str:
    """Return the name of the container that serves in pods of the template at ``path``."""
    return names.FRONTEND if path.startswith("spec.frontend.") else WORKER


def _known_volumes(pod: PodPlan, spec: Mapping[str, Any]) -> set[Any]:
    """Return the names of a pod's volumes, those of its template's ``spec`` among them."""
    return {*_derived(pod), *(each.get("name") for _, each in entries("", spec, "volumes"))}


def _derived(pod: PodPlan) -> dict[str, set[str]]:
    """Return the derived volumes of a pod by name, each with its source."""
    mounts = pod.mounts if pod.agent is None else (*pod.mounts, *pod.agent.mounts)
    return {FILES: {"configMap"}, **{mount.name: set(mount.volume) for mount in mounts}}


def _files_fit(subject: Subject) -> Iterator[Finding]:
    # Both roles have one ConfigMap, in which a file that is the same for both stands once.
    workers = {path: {*role.files.items()} for path, role in subject.roles()}
    largest = max(workers, key=lambda path: _bytes(workers[path]))
    made = [(f"{largest}.engineConfig", set[tuple[str, str]]().union(*workers.values()))]
    made.append(("spec.frontend.config", {*subject.plan.frontend.files.items()}))
    for field, files in made:
        size = _bytes(files)
        if size > _MEBIBYTE - _LARGEST_REST:
            fault = f"makes files of {size // 1024} KiB, and a ConfigMap takes 1 MiB"
            yield Finding(field, fault, "Write less: large files belong into an image or onto a volume")


_LARGEST_REST = 64 * 1024
"""Bytes of a ConfigMap that are left to the names of its files and to the programs of checks."""


def _bytes(files: Set[tuple[str, str]]) -> int:
    return sum(len(text.encode()) for _, text in files)


def _pods_fit(subject: Subject) -> Iterator[Finding]:
    for path, pod in _pods(subject):
        variables = sum(len(each.name) + len((each.value or "").encode()) for each in pod.environment)
        template = len(json.dumps(pod.overrides))
        if variables + template > _LARGEST_POD:
            field = f"{path}.podTemplate" if template > variables else f"{path}.env"
            size, most = (variables + template) // 1024, _LARGEST_POD // 1024
            fault = f"adds {size} KiB to a pod, and {most} KiB are taken"
            yield Finding(field, fault, "Write less: long texts belong into a ConfigMap or an image")


RULES: tuple[Rule[Subject], ...] = (
    Rule(
        "pod-template-images",
        "Kubernetes: Container.image",
        _images,
        says="a container that the template adds has no image",
    ),
    Rule("pod-template-volumes", "Kubernetes: Volume", _volumes),
    Rule("pod-template-mounts", "Kubernetes: VolumeMount.name", _mounts),
    Rule("pod-template-one-name", "Kubernetes: Container.name", _one_name),
    Rule("variables-of-files", "Kubernetes: FileKeySelector.volumeName", _file_variables),
    Rule("files-fit", "https://kubernetes.io/docs/concepts/configuration/configmap/", _files_fit),
    Rule("pod-fits", "https://etcd.io/docs/v3.6/dev-guide/limit/", _pods_fit),
)
