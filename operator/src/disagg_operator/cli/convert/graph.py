"""A DynamoGraphDeployment of either version, read as one thing: components, each with one main container.

Sources: ai-dynamo/dynamo, deploy/operator/api: v1alpha1/dynamographdeployment_types.go,
v1alpha1/dynamocomponentdeployment_types.go and common.go; dynamo/v1beta1 for the newer version.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.cli.convert.faults import ConversionError
from disagg_operator.cli.convert.part import Part, absent

GRAPH = "DynamoGraphDeployment"
GROUP = "nvidia.com"
GPU = "nvidia.com/gpu"
MAIN = "main"
"""Name of the container that v1beta1 takes for the component's own."""
_ALPHA, _BETA = "v1alpha1", "v1beta1"
_HUB_WORDS = ("hf", "hugging", "token")
_MODES = ("prefill", "decode")


@dataclass(frozen=True)
class Variable:
    """An environment variable: where it is written, and its literal value if it has one."""

    part: Part

    @property
    def name(self) -> str:
        """Its name."""
        return self.part["name"].text

    @property
    def value(self) -> str | None:
        """Its literal value; None where it comes from somewhere else."""
        return None if self.part["valueFrom"] else self.part["value"].text


@dataclass(frozen=True)
class VariableSource:
    """A Secret or ConfigMap whose keys all become variables.

    Attributes:
        part: where it is named.
        entry: the same in the shape of a container's ``envFrom``.
    """

    part: Part
    entry: Mapping[str, Any]

    @property
    def secret(self) -> str:
        """Name of the Secret; empty for a ConfigMap."""
        reference = self.entry.get("secretRef")
        return str(reference.get("name", "")) if isinstance(reference, dict) else ""

    @property
    def of_hub(self) -> bool:
        """Whether the Secret's name says that it holds a token of the hub."""
        return any(word in self.secret.lower() for word in _HUB_WORDS)


@dataclass(frozen=True)
class Volume:
    """A volume where a container sees it.

    Attributes:
        path: mount path.
        mount: entry of the mounts.
        source: what the volume is; absent for what the file does not say.
        declared: entries that declare it.
        claim: name of its PersistentVolumeClaim, or nothing.
        config_map: name of its ConfigMap, or nothing.
    """

    path: str
    mount: Part
    source: Part
    declared: tuple[Part, ...]
    claim: str = ""
    config_map: str = ""


@dataclass(frozen=True)
class Component:
    """One component of a graph.

    Attributes:
        name: its name.
        part: all that is said of it.
        kind: its type, such as worker or frontend.
        subtype: whether it is prefill or decode; absent where the type does not say.
        pod: its pod's specification.
        container: its main container.
        sidecars: its other containers.
        metadata: sections with labels and annotations of its pods.
        graph_variables: variables of the whole graph.
        claims: declarations of PersistentVolumeClaims of the whole graph, by name.
    """

    name: str
    part: Part
    kind: Part
    subtype: Part
    pod: Part
    container: Part
    sidecars: tuple[Part, ...]
    metadata: tuple[Part, ...]
    graph_variables: tuple[Variable, ...]
    claims: Mapping[str, Part]

    def variables(self) -> list[Variable]:
        """Return its variables; later ones win, as those of the container do over those of the graph."""
        own = (self.part["envs"], self.container["env"])
        return [*self.graph_variables, *(Variable(entry) for each in own for entry in each.entries())]

    def effective(self) -> dict[str, Variable]:
        """Return the variable of each name that counts."""
        return {each.name: each for each in self.variables()}

    def variable_sources(self) -> list[VariableSource]:
        """Return the Secrets and ConfigMaps whose keys all become variables."""
        secret = self.part["envFromSecret"]
        found = [VariableSource(secret, {"secretRef": {"name": secret.text}})] if secret else []
        for entry in self.container["envFrom"].entries():
            if isinstance(entry.value, dict):
                found.append(VariableSource(entry, entry.value))
        return found

    def amounts(self, kind: str) -> Iterator[tuple[str, Part]]:
        """Yield the resources that are requested or limited, by their names in Kubernetes.

        Args:
            kind: ``requests`` or ``limits``.
        """
        for section in (self.part["resources"][kind], self.container["resources"][kind]):
            for name, part in section.items():
                if name == "custom":
                    yield from part.items()
                elif name != "gpuType":
                    yield (section["gpuType"].text or GPU) if name == "gpu" else name, part

    def resource_claims(self) -> list[Part]:
        """Return where resource claims are made and used."""
        sections = (self.pod["resourceClaims"], self.part["resources"]["claims"])
        return [
            entry for each in (*sections, self.container["resources"]["claims"]) for entry in each.entries()
        ]

    def probes(self) -> list[Part]:
        """Return its probes."""
        names = ("livenessProbe", "readinessProbe", "startupProbe")
        return [part for name in names for part in (self.part[name], self.container[name]) if part]

    def volumes(self) -> list[Volume]:
        """Return what its container sees mounted."""
        declared = {entry["name"].text: entry for entry in self.pod["volumes"].entries()}
        found = []
        for mount in self.part["volumeMounts"].entries():
            name = mount["name"].text
            claim = self.claims.get(name, absent(mount.document))
            found.append(Volume(mount["mountPoint"].text, mount, claim, (claim,), claim=name))
        for mount in self.container["volumeMounts"].entries():
            volume = declared.get(mount["name"].text, absent(mount.document))
            found.append(
                Volume(
                    mount["mountPath"].text,
                    mount,
                    volume,
                    (volume,),
                    volume.at("persistentVolumeClaim", "claimName").text,
                    volume.at("configMap", "name").text,
                )
            )
        return found

    def volume_of(self, path: str) -> Volume | None:
        """Return the volume that holds a path, the closest of several."""
        holding = [each for each in self.volumes() if within(path, each.path)]
        return max(holding, key=lambda each: len(each.path), default=None)


def within(path: str, folder: str) -> bool:
    """Tell whether a path is in a folder, or is it."""
    return bool(folder) and f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


@dataclass(frozen=True)
class Graph:
    """A whole graph.

    Attributes:
        part: the document.
        variables: those of the whole graph.
        components: its components, in their order.
    """

    part: Part
    variables: tuple[Variable, ...]
    components: tuple[Component, ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.part.at("metadata", "name").text or "?"


def graph_of(document: Part) -> Graph:
    """Return a document as a graph.

    Raises:
        ConversionError: its version is not known, or it has no components.
    """
    version = document["apiVersion"].text.removeprefix(f"{GROUP}/")
    if version not in (_ALPHA, _BETA):
        given = document["apiVersion"].text or "no apiVersion"
        raise ConversionError(f"{given} is not known: convert reads {GROUP}/{_ALPHA} and {GROUP}/{_BETA}")
    spec = document["spec"]
    variables = tuple(
        Variable(entry) for key in ("envs", "env") for entry in spec[key].entries() if entry["name"]
    )
    claims = {entry["name"].text: entry for entry in spec["pvcs"].entries()}
    components = tuple(_components(spec, version, variables, claims))
    if not components:
        field = "spec.services" if version == _ALPHA else "spec.components"
        raise ConversionError(f"has no components: {field} is empty")
    return Graph(document, variables, components)


def _components(
    spec: Part, version: str, variables: tuple[Variable, ...], claims: Mapping[str, Part]
) -> Iterator[Component]:
    if version == _ALPHA:
        for name, part in spec["services"].items():
            pod = part["extraPodSpec"]
            kind = part["componentType"]
            subtype = part["subComponentType"] or kind
            yield Component(
                name,
                part,
                kind,
                subtype if subtype.text in _MODES else absent(part.document),
                pod,
                pod["mainContainer"],
                tuple(pod["containers"].entries()),
                (part, part["extraPodMetadata"]),
                variables,
                claims,
            )
        return
    for part in spec["components"].entries():
        template = part["podTemplate"]
        containers = list(template["spec"]["containers"].entries())
        main = next((each for each in containers if each["name"].text == MAIN), absent(part.document))
        kind = part["type"]
        yield Component(
            part["name"].text,
            part,
            kind,
            kind if kind.text in _MODES else absent(part.document),
            template["spec"],
            main,
            tuple(each for each in containers if each["name"].text != MAIN),
            (template["metadata"],),
            variables,
            claims,
        )
