"""Rules about any text: what would not arrive as it is written.

A field that holds text is under these rules by itself, however new it is. What belongs to another API keeps
that API's meaning: values of ``env`` and pod templates are as in a pod, where ``$(NAME)`` is a variable.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from disagg_operator.api.admission.rule import Finding, Rule, roles
from disagg_operator.api.v1alpha1.base import ApiModel
from disagg_operator.api.v1alpha1.spec import DisaggDeploymentSpec

_AS_IN_PODS = re.compile(
    r"spec\.((prefill|decode|frontend)\.)?(env\[\d+\]\.value(From\b.*)?|podTemplate\b.*)"
    r"|spec\.placement\.tolerations\[\d+\]\..*",
    re.DOTALL,
)
_FILES = re.compile(r"spec\.((prefill|decode)\.engineConfig|frontend\.config|platformProfile)\b.*", re.DOTALL)
"""What goes into files, or is written by the operator so that Kubernetes leaves it alone."""
_EXPANDED = "$("
_SSHD = ("PATH", "LD_LIBRARY_PATH", "OPAL_PREFIX", "PRTE_PREFIX", "PMIX_PREFIX")
"""Variables that each pod of a group has for itself, and that sshd gives to its ranks."""


def texts(spec: DisaggDeploymentSpec) -> Iterator[tuple[str, str]]:
    """Yield all text of a specification, keys of free maps among it, with paths."""
    # No recursion: a pod template may be as deep as the API server takes it.
    rest: list[tuple[str, Any]] = [("spec", spec)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, ApiModel):
            fields = type(value).model_fields.items()
            rest += [(f"{path}.{field.alias or name}", getattr(value, name)) for name, field in fields]
        elif isinstance(value, Mapping):
            for key, each in value.items():
                place = entry(path, key)
                yield place, key
                rest.append((place, each))
        elif isinstance(value, list):
            rest += [(f"{path}[{index}]", each) for index, each in enumerate(value)]


def entry(path: str, key: str) -> str:
    """Return the path of a map's entry, such as ``spec.placement.nodeSelector[example.com/pool]``."""
    return f"{path}.{key}" if key.isidentifier() else f"{path}[{key}]"


def _may_hold(spec: DisaggDeploymentSpec, part: str) -> bool:
    """Tell whether any text may hold a part, at a tenth of the cost of looking at each: nearly none does."""
    return json.dumps(part)[1:-1] in spec.model_dump_json()


def _nul(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, text in texts(spec) if _may_hold(spec, "\0") else ():
        if "\0" in text:
            fault = "holds the character NUL, which no argument, variable or file name can"
            yield Finding(path.replace("\0", "\\0"), fault, "Write it without that character")


def _expansion(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, text in texts(spec) if _may_hold(spec, _EXPANDED) else ():
        if _EXPANDED in text and not (_AS_IN_PODS.fullmatch(path) or _FILES.fullmatch(path)):
            fault = "holds '$(', with which Kubernetes begins the name of a variable to put in"
            yield Finding(path, fault, "Write it without '$('")


def _sshd(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    for path, role in roles(spec):
        if role.nodes_per_replica == 1:
            continue
        for place, variables in (("spec.env", spec.env), (f"{path}.env", role.env)):
            for index, each in enumerate(variables):
                if each.name in _SSHD and "\n" in (each.value or ""):
                    fault = f"{each.name} holds a line break, and is handed to the ranks through sshd_config"
                    yield Finding(f"{place}[{index}].value", fault, "Write it in one line")


def _commas(spec: DisaggDeploymentSpec) -> Iterator[Finding]:
    etcd = spec.discovery.etcd
    for index, endpoint in enumerate(etcd.endpoints if etcd is not None else ()):
        if "," in endpoint:
            fault = "holds a comma, by which programs tell one endpoint from the next"
            yield Finding(f"spec.discovery.etcd.endpoints[{index}]", fault, "Write one URL in each entry")


RULES: tuple[Rule[DisaggDeploymentSpec], ...] = (
    Rule("text-no-nul", "https://man7.org/linux/man-pages/man2/execve.2.html", _nul),
    Rule(
        "text-no-expansion",
        "https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/",
        _expansion,
    ),
    Rule("etcd-endpoint-alone", "Dynamo: ETCD_ENDPOINTS", _commas),
    Rule("env-one-line-in-groups", "man sshd_config: SetEnv", _sshd),
)
