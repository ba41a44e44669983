"""Finds profiles by name: those of the package, and those that an installation or a user adds.

Invariant: a catalogue is a value. Adding profiles makes another catalogue.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import TypeVar

from packaging.version import Version
from pydantic import ValidationError

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.platforms.documents import read, resolved
from disagg_operator.platforms.profile import (
    Document,
    FabricProfile,
    MachineProfile,
    ProfileModel,
    RuntimeProfile,
)

P = TypeVar("P", bound=ProfileModel)

MACHINES, FABRICS, RUNTIMES = "machines", "fabrics", "runtimes"
KNOWN = "platform-known"
_PART = "_"
"""Begins the name of a document that is no profile of its own: others are like it."""


class ProfileError(ValueError):
    """A profile that cannot be used. The message names the profile, the field and what is wrong."""


@dataclass(frozen=True)
class Catalogue:
    """Profiles by name, as documents; models are made of those that are asked for.

    Attributes:
        machine_documents: machine profiles by name.
        fabric_documents: fabric profiles by name.
        runtime_documents: runtime profiles by ``name-version``.
    """

    machine_documents: Mapping[str, Document]
    fabric_documents: Mapping[str, Document]
    runtime_documents: Mapping[str, Document]

    @cached_property
    def machines(self) -> Mapping[str, MachineProfile]:
        """All machine profiles by name, sorted."""
        return _models(MachineProfile, self.machine_documents)

    @cached_property
    def fabrics(self) -> Mapping[str, FabricProfile]:
        """All fabric profiles by name, sorted."""
        return _models(FabricProfile, self.fabric_documents)

    @cached_property
    def runtimes(self) -> Mapping[str, Mapping[str, RuntimeProfile]]:
        """All runtime profiles by name and version, the newest version first, pre-releases last."""
        found = _models(RuntimeProfile, self.runtime_documents).values()
        newest_first = sorted(found, key=lambda profile: _age(profile.version), reverse=True)
        by_name: dict[str, dict[str, RuntimeProfile]] = {}
        for profile in newest_first:
            by_name.setdefault(profile.name, {})[profile.version] = profile
        return by_name

    def with_profiles(
        self, machines: Mapping[str, Document], fabrics: Mapping[str, Document] | None = None
    ) -> "Catalogue":
        """Return a catalogue that has further profiles. They may be like those that were there.

        Raises:
            ProfileError: a profile cannot be used.
        """
        extended = Catalogue(
            {**self.machine_documents, **machines},
            {**self.fabric_documents, **(fabrics or {})},
            self.runtime_documents,
        )
        for name in fabrics or {}:
            _model(FabricProfile, name, extended.fabric_documents)
        for name in machines:
            unknown = set(_model(MachineProfile, name, extended.machine_documents).fabrics) - set(
                extended.fabric_documents
            )
            if unknown:
                known = ", ".join(sorted(extended.fabric_documents))
                raise ProfileError(
                    f"{name}: fabrics: there is no fabric {', '.join(sorted(unknown))}; known: {known}"
                )
        return extended

    def machine(self, name: str) -> MachineProfile:
        """Return the machine profile of ``spec.platform``.

        Raises:
            Refusal: there is no such profile.
        """
        try:
            return self.machines[name]
        except KeyError:
            known = ", ".join(self.machines)
            problem = Problem(
                "spec.platform", f"there is no platform {name!r}", f"Write one of: {known}", KNOWN
            )
            raise Refusal([problem]) from None

    def fabrics_of(self, machine: MachineProfile) -> tuple[FabricProfile, ...]:
        """Return the fabrics of a machine; KV cache crosses the first."""
        return tuple(self.fabrics[name] for name in machine.fabrics)

    def runtime(self, name: str, version: str | None, engine: str) -> RuntimeProfile:
        """Return the profile of a frontend's release that holds an engine.

        Args:
            name: the frontend.
            version: version of the release; the newest that holds the engine where none is asked for.
            engine: the engine.

        Raises:
            Refusal: there is no profile of that version, or it does not hold the engine.
        """
        versions = self.runtimes[name]
        holding = [each for each, profile in versions.items() if engine in profile.engines]
        if version is None and holding:
            return versions[holding[0]]
        if version in holding:
            return versions[version]
        fault = f"not supported yet: {name} {version!r}"
        if version in versions:
            fault = f"{name} {version} has not been tried with the engine {engine}"
        remedy = f"Write one of: {', '.join(holding)}, or leave it out"
        raise Refusal([Problem("spec.runtime.version", fault, remedy, "runtime-version-known")])


@cache
def builtin() -> Catalogue:
    """Return the profiles of the package. They are read once."""
    return Catalogue(_documents(MACHINES), _documents(FABRICS), _documents(RUNTIMES))


def _documents(folder: str) -> dict[str, Document]:
    files = resources.files("disagg_operator.platforms") / folder
    return {
        file.name.removesuffix(".yaml"): read(file.read_text(encoding="utf-8"), f"{folder}/{file.name}")
        for file in sorted(files.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    }


def _models(model: type[P], documents: Mapping[str, Document]) -> dict[str, P]:
    return {name: _model(model, name, documents) for name in sorted(documents) if name[:1] != _PART}


def _model(model: type[P], name: str, documents: Mapping[str, Document]) -> P:
    try:
        return model.model_validate(resolved(name, documents))
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()
        )
        raise ProfileError(f"{name}: {faults}") from None
    except ValueError as error:
        raise ProfileError(f"{name}: {error}") from None


def _age(version: str) -> tuple[bool, Version]:
    parsed = Version(version)
    return not parsed.is_prerelease, parsed
