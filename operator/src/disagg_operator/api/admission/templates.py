"""Walks partial pod templates. Their shape is the user's: no key is taken to hold what it should."""

from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import roles
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

CONTAINER_LISTS = ("containers", "initContainers", "ephemeralContainers")


def templates(spec: DisaggDeploymentSpec) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the pod templates that are given, with their paths."""
    given = {path: role.pod_template for path, role in roles(spec)}
    given["spec.frontend"] = spec.frontend.pod_template
    for path, template in given.items():
        if template is not None:
            yield f"{path}.podTemplate", template


def mapping(parent: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the map at ``key``, or an empty one."""
    found = parent.get(key)
    return found if isinstance(found, Mapping) else {}


def entries(path: str, parent: Mapping[str, Any], key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the maps of the list at ``key``, with their paths."""
    found = parent.get(key)
    for index, each in enumerate(found if isinstance(found, list) else ()):
        if isinstance(each, Mapping):
            yield f"{path}.{key}[{index}]", each


def containers(path: str, template: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the containers of all sorts in the pod template at ``path``."""
    for key in CONTAINER_LISTS:
        yield from entries(f"{path}.spec", mapping(template, "spec"), key)
