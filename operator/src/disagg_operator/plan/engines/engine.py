"""What planning asks an engine, and what an engine answers."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from disagg_operator.api.v1alpha1.resource import DisaggDeployment
from disagg_operator.api.v1alpha1.role import RoleSpec
from disagg_operator.plan.facts import applicable, provenance
from disagg_operator.plan.model import (
    DECODE,
    PREFILL,
    ConfigSetting,
    EnvSetting,
    Mount,
    Port,
    TransferPlan,
)
from disagg_operator.platforms.profile import EngineRelease

CONFIG_FOLDER = "/etc/disagg"
"""Folder in which a worker sees its configuration files."""


@dataclass(frozen=True)
class Asked:
    """The workers of one role that an engine is to run.

    Attributes:
        resource: the deployment.
        role: prefill or decode.
        spec: specification of that role.
        transfer: how KV cache moves.
        release: the engine's release.
        facts: facts of the role.
        dynamo_namespace: scope in which the deployment's parts find each other.
    """

    resource: DisaggDeployment
    role: str
    spec: RoleSpec
    transfer: TransferPlan
    release: EngineRelease
    facts: Mapping[str, str]
    dynamo_namespace: str

    @property
    def path(self) -> str:
        """Path of the role's specification."""
        return f"spec.{self.role}"

    @property
    def peer(self) -> tuple[str, RoleSpec]:
        """The other role, and its specification."""
        spec = self.resource.spec
        return (DECODE, spec.decode) if self.role == PREFILL else (PREFILL, spec.prefill)

    def release_settings(self) -> Iterator[ConfigSetting]:
        """Yield the settings that the engine's release brings along for the role."""
        for each in applicable(self.release.settings, self.facts):
            yield ConfigSetting(each.key, each.value, provenance(each))


@dataclass(frozen=True)
class EngineWorker:
    """How an engine runs the workers of one role.

    Attributes:
        command: argument vector.
        files: configuration files by name, seen in CONFIG_FOLDER.
        mounts: volumes beside those of the frontend's wiring.
        ports: ports beside the one of the probes.
        group_port: port by which pods of one instance on several nodes find each other, where the engine
            sees to that; None where its release says how they are started.
        environment: derived variables.
        config: what the configuration file holds.
        settings: the same, setting by setting, with the reason of each.
    """

    command: tuple[str, ...]
    files: Mapping[str, str]
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    group_port: Port | None = None
    environment: tuple[EnvSetting, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    settings: tuple[ConfigSetting, ...] = ()
