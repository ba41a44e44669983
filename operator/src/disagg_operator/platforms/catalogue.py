"""Finds profiles by name: those of the package, and those that an installation or a user adds.

Invariant: a catalogue is a value. Adding profiles makes another catalogue.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache, cached_property
from hashlib import sha256
from importlib import resources
from typing import Any, TypeVar

from packaging.version import Version
from pydantic import ValidationError

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.platforms.additions import LEAVE_IT, NOT_THERE, extended_by
from disagg_operator.platforms.documents import LIKE, bases_of, read, resolved
from disagg_operator.platforms.faults import RULE, ProfileError, problems_of, templates
from disagg_operator.platforms.overlay import owned, vain_removals
from disagg_operator.platforms.profile import (
    Document,
    FabricProfile,
    MachineProfile,
    ProfileModel,
    RuntimeProfile,
    ServiceProfile,
)

P = TypeVar("P", bound=ProfileModel)

MACHINES, FABRICS, RUNTIMES, SERVICES = "machines", "fabrics", "runtimes", "services"
GENERIC = "generic"
"""The machine profile that others are like if they do not say it."""
KNOWN = "platform-known"
INLINE = "spec.platformProfile"
BY_USER = "Set by the user."
_MEANT_AT_MOST = 4
"""Suggestions in place of all names."""
_PART = "_"
"""Begins the name of a document that is no profile of its own: others are like it."""


@dataclass(frozen=True)
class Catalogue:
    """Profiles by name, as documents; models are made of those that are asked for.

    Attributes:
        machine_documents: machine profiles by name.
        fabric_documents: fabric profiles by name.
        runtime_documents: runtime profiles by ``name-version``.
        added: what was added to those of the package, as written: hashes by folder and name.
    """

    machine_documents: Mapping[str, Document]
    fabric_documents: Mapping[str, Document]
    runtime_documents: Mapping[str, Document]
    added: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def machines(self) -> Mapping[str, MachineProfile]:
        """All machine profiles by name, sorted."""
        return _models(MachineProfile, MACHINES, self.machine_documents)

    @cached_property
    def fabrics(self) -> Mapping[str, FabricProfile]:
        """All fabric profiles by name, sorted."""
        return _models(FabricProfile, FABRICS, self.fabric_documents)

    @cached_property
    def runtimes(self) -> Mapping[str, Mapping[str, RuntimeProfile]]:
        """All runtime profiles by name and version, the newest version first, pre-releases last."""
        found = _models(RuntimeProfile, RUNTIMES, self.runtime_documents).values()
        newest_first = sorted(found, key=lambda profile: _age(profile.version), reverse=True)
        by_name: dict[str, dict[str, RuntimeProfile]] = {}
        for profile in newest_first:
            by_name.setdefault(profile.name, {})[profile.version] = profile
        return by_name

    def with_profiles(
        self, machines: Mapping[str, Document], fabrics: Mapping[str, Document] | None = None
    ) -> "Catalogue":
        """Return a catalogue that has further profiles. They may be like those that are there.

        A machine that is like none is like ``generic``; a profile of a known name is laid over the known one.

        Raises:
            ProfileError: a profile cannot be used. The message names its file, the field and the fault.
        """
        extended = Catalogue(
            extended_by(machines, MACHINES, self.machine_documents, [GENERIC]),
            extended_by(fabrics or {}, FABRICS, self.fabric_documents, []),
            self.runtime_documents,
            {**self.added, **_hashes(MACHINES, machines), **_hashes(FABRICS, fabrics or {})},
        )
        for name in filter(_is_profile, fabrics or {}):
            _model(FabricProfile, FABRICS, name, extended.fabric_documents)
        for name in filter(_is_profile, machines):
            machine = _model(MachineProfile, MACHINES, name, extended.machine_documents)
            fault = extended.unknown_fabric(machine, "fabrics")
            if fault is not None:
                raise ProfileError(f"{MACHINES}/{name}.yaml: {fault}")
        return extended

    def added_to(self, platform: str) -> dict[str, str]:
        """Return what was added that a machine's profile is made of, its fabrics included: hashes by name.

        Args:
            platform: name of the machine's profile.
        """
        if not self.added or platform not in self.machine_documents:
            return {}
        parts = {f"{MACHINES}/{name}" for name in _chain(platform, self.machine_documents)}
        for fabric in self.machines[platform].fabrics:
            parts |= {f"{FABRICS}/{name}" for name in _chain(fabric, self.fabric_documents)}
        return {name: text for name, text in self.added.items() if name in parts}

    def unknown_fabric(self, machine: MachineProfile, field: str) -> Problem | None:
        """Return what is wrong with a machine that names a fabric that is not there, or None."""
        unknown = [name for name in machine.fabrics if name not in self.fabric_documents]
        if not unknown:
            return None
        remedy = instead(unknown[0], self.fabric_documents)
        return Problem(field, f"there is no fabric {unknown[0]!r}", remedy, RULE)

    def machine(self, name: str) -> MachineProfile:
        """Return the machine profile of ``spec.platform``.

        Raises:
            Refusal: there is no such profile.
        """
        try:
            return self.machines[name]
        except KeyError:
            raise Refusal([self._unknown_machine("spec.platform", name, KNOWN)]) from None

    def asked(self, platform: str, document: Mapping[str, Any] | None) -> MachineProfile:
        """Return the machine profile that a deployment asks for.

        Args:
            platform: ``spec.platform``.
            document: ``spec.platformProfile``, if there is one.

        Raises:
            Refusal: there is no such profile, or what is laid over it cannot be used.
        """
        return self.machine(platform) if document is None else self.inline(platform, document)

    def inline(self, platform: str, document: Mapping[str, Any]) -> MachineProfile:
        """Return the machine profile that a deployment brings along.

        Args:
            platform: ``spec.platform``, which it is like if it says nothing else.
            document: ``spec.platformProfile``.

        Raises:
            Refusal: it cannot be used.
        """
        forbidden = list(templates(document, INLINE))
        if forbidden:
            raise Refusal(forbidden)
        written = bases_of(document)
        if written is None:
            remedy = "Write the name of a platform, or a list of names"
            raise Refusal([Problem(f"{INLINE}.{LIKE}", "is no name", remedy, RULE)])
        field, rule = (f"{INLINE}.{LIKE}", RULE) if written else ("spec.platform", KNOWN)
        bases = written or [platform]
        for base in bases:
            if base not in self.machine_documents:
                raise Refusal([self._unknown_machine(field, base, rule)])
        below = resolved(INLINE, {**self.machine_documents, INLINE: {LIKE: bases}})
        vain = [
            Problem(f"{INLINE}.{key}[{name}]", NOT_THERE, LEAVE_IT, RULE)
            for key, name in vain_removals(document, below)
        ]
        if vain:
            raise Refusal(vain)
        own = owned(document, BY_USER, f"{INLINE}.")
        laid = resolved(INLINE, {**self.machine_documents, INLINE: {**own, LIKE: bases, "name": INLINE}})
        try:
            machine = MachineProfile.model_validate(laid)
        except ValidationError as error:
            raise Refusal(problems_of(error, laid, MachineProfile, INLINE)) from None
        fault = self.unknown_fabric(machine, f"{INLINE}.fabrics")
        if fault is not None:
            raise Refusal([fault])
        return machine

    def _unknown_machine(self, field: str, name: object, rule: str) -> Problem:
        given = str(name)[:63]
        return Problem(field, f"there is no platform {given!r}", instead(given, self.machine_documents), rule)

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
        if not holding:
            others = [kind for kind, found in self.runtimes.items() if _holds(found, engine)]
            remedy = f"Write {' or '.join(others)}" if others else "Write another engine"
            fault = f"{name} does not run the engine {engine}"
            raise Refusal([Problem("spec.runtime.frontend", fault, remedy, "frontend-runs-engine")])
        fault = f"not supported yet: {name} {version!r}"
        if version in versions:
            fault = f"{name} {version} is not known with the engine {engine}"
        remedy = f"Write one of: {', '.join(holding)}, or leave it out"
        raise Refusal([Problem("spec.runtime.version", fault, remedy, "runtime-version-known")])


def instead(name: str, known: Iterable[str]) -> str:
    """Return what to write in place of a name that is unknown.

    Args:
        name: the unknown name.
        known: the names that there are; those that begin with an underscore are none.
    """
    names = sorted(filter(_is_profile, known))
    meant = [each for each in names if name in each] or get_close_matches(name, names)
    if name and 0 < len(meant) <= _MEANT_AT_MOST:
        return f"Did you mean {' or '.join(meant)}?"
    return f"Write one of: {', '.join(names)}"


@cache
def services() -> Mapping[str, ServiceProfile]:
    """Return the profiles of the services that the operator may run, by name. They are read once."""
    return _models(ServiceProfile, SERVICES, _documents(SERVICES))


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


def _models(model: type[P], folder: str, documents: Mapping[str, Document]) -> dict[str, P]:
    return {name: _model(model, folder, name, documents) for name in filter(_is_profile, sorted(documents))}


def _hashes(folder: str, documents: Mapping[str, Document]) -> dict[str, str]:
    return {
        f"{folder}/{name}": sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
        for name, document in documents.items()
    }


def _chain(name: str, documents: Mapping[str, Document]) -> set[str]:
    """Return the names of a document and of all that it is like."""
    bases = bases_of(documents.get(name, {})) or []
    return {name}.union(*(_chain(base, documents) for base in bases))


def _is_profile(name: str) -> bool:
    return not name.startswith(_PART)


def _model(model: type[P], folder: str, name: str, documents: Mapping[str, Document]) -> P:
    try:
        document = resolved(name, documents)
        return model.model_validate(document)
    except ValidationError as error:
        faults = "; ".join(str(problem) for problem in problems_of(error, document, model, ""))
        raise ProfileError(f"{folder}/{name}.yaml: {faults}") from None
    except ValueError as error:
        raise ProfileError(f"{folder}/{name}.yaml: {error}") from None


def _holds(releases: Mapping[str, RuntimeProfile], engine: str) -> bool:
    return any(engine in profile.engines for profile in releases.values())


def _age(version: str) -> tuple[bool, Version]:
    parsed = Version(version)
    return not parsed.is_prerelease, parsed
