"""Finds profiles by name. They are read from the package's own YAML files once."""

from functools import cache
from importlib import resources

import yaml

from disagg_operator.api.problems import Problem, Refusal
from disagg_operator.platforms.profile import MachineProfile, RuntimeProfile


@cache
def machines() -> dict[str, MachineProfile]:
    """Return all machine profiles by name, sorted."""
    found = (MachineProfile.model_validate(document) for document in _documents("machines"))
    return {profile.name: profile for profile in sorted(found, key=lambda profile: profile.name)}


@cache
def runtimes() -> dict[str, dict[str, RuntimeProfile]]:
    """Return all runtime profiles by name and version, the newest version first."""
    found = [RuntimeProfile.model_validate(document) for document in _documents("runtimes")]
    newest_first = sorted(found, key=lambda profile: _version_key(profile.version), reverse=True)
    by_name: dict[str, dict[str, RuntimeProfile]] = {}
    for profile in newest_first:
        by_name.setdefault(profile.name, {})[profile.version] = profile
    return by_name


def machine(name: str) -> MachineProfile:
    """Return the machine profile of ``spec.platform``.

    Raises:
        Refusal: there is no such profile.
    """
    try:
        return machines()[name]
    except KeyError:
        known = ", ".join(machines())
        problem = Problem(
            "spec.platform", f"there is no platform {name!r}", f"Write one of: {known}", "platform-known"
        )
        raise Refusal([problem]) from None


def runtime(name: str, version: str | None) -> RuntimeProfile:
    """Return the profile of a frontend's release, the newest one where no version is asked for.

    Raises:
        Refusal: there is no profile of that version.
    """
    versions = runtimes()[name]
    if version is None:
        return next(iter(versions.values()))
    try:
        return versions[version]
    except KeyError:
        remedy = f"Write one of: {', '.join(versions)}, or leave it out"
        problem = Problem(
            "spec.runtime.version", f"not supported yet: {name} {version!r}", remedy, "runtime-version-known"
        )
        raise Refusal([problem]) from None


def _documents(folder: str) -> list[object]:
    files = resources.files("disagg_operator.platforms") / folder
    named = sorted((f for f in files.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return [yaml.safe_load(f.read_text(encoding="utf-8")) for f in named]


def _version_key(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
