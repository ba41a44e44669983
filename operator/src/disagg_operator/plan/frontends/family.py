"""What planning asks a kind of frontend, and what it answers.

A kind is a program that receives requests, together with the way in which workers take part in it. Invariant:
nothing outside this room knows one kind from another; whatever differs is asked here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from disagg_operator.plan.basis import Basis
from disagg_operator.plan.environment import fill
from disagg_operator.plan.launch.scripts import LOOPBACK
from disagg_operator.plan.model import (
    ConfigSetting,
    EnvSetting,
    HttpProbe,
    Mount,
    Port,
    PreparePlan,
    RolePlan,
)
from disagg_operator.platforms.profile import Component, Probe

HOME = "/home/disagg"
SCRATCH = (
    Mount("home", HOME, {"emptyDir": {}}),
    Mount("tmp", "/tmp", {"emptyDir": {}}),  # noqa: S108 - a path inside the container
)
"""What every container of workers and frontend writes to: its root filesystem is read-only."""


@dataclass(frozen=True)
class Wiring:
    """How one container takes part.

    Attributes:
        command: argument vector; empty where the engine decides.
        environment: derived variables.
        port: port of the probes.
        startup, liveness, readiness: probes.
        arguments: words that follow the engine's command.
        address: where the HTTP server of a worker listens, as a word of a shell inside its pod.
        mounts: volumes with their mount paths.
        prepare: what completes its configuration file before it starts.
        files: configuration files of a front door, by name, seen in CONFIG_FOLDER.
        settings: what they hold, setting by setting, with the reason of each.
        reads_model: whether a front door must see the model's files.
    """

    command: tuple[str, ...]
    environment: tuple[EnvSetting, ...]
    port: Port
    startup: HttpProbe
    liveness: HttpProbe
    readiness: HttpProbe
    arguments: tuple[str, ...] = ()
    address: str = LOOPBACK
    mounts: tuple[Mount, ...] = ()
    prepare: PreparePlan | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    settings: tuple[ConfigSetting, ...] = ()
    reads_model: bool = False


@dataclass(frozen=True)
class Workers:
    """The workers that a front door is to send requests to.

    Attributes:
        revision: their revision.
        roles: their plans, by role.
    """

    revision: str
    roles: Mapping[str, RolePlan]


@dataclass(frozen=True)
class Family:
    """A kind of frontend.

    Attributes:
        worker: says how a worker takes part, by what the deployment's pods have in common, its role and its
            revision.
        front_door: says how the front door to some workers runs.
        worker_labels: labels by which it finds the Services of workers.
        has_key: tells whether its requests carry a key that its workers know.
    """

    worker: Callable[[Basis, str, str], Wiring]
    front_door: Callable[[Basis, Workers], Wiring]
    worker_labels: Mapping[str, str] = field(default_factory=dict)
    has_key: Callable[[Basis], bool] = lambda _: False


def wired(
    component: Component,
    command: tuple[str, ...],
    environment: tuple[EnvSetting, ...],
    port: Port,
    values: Mapping[str, object],
) -> Wiring:
    """Return a wiring whose probes are those of a release.

    Args:
        component: what the release says of the container.
        command: argument vector of the container.
        environment: its derived variables.
        port: port of the probes.
        values: what templates of the probes' paths may name.
    """
    return Wiring(
        command=command,
        environment=environment,
        port=port,
        startup=_probe(component.startup, port.name, values),
        liveness=_probe(component.liveness, port.name, values),
        readiness=_probe(component.readiness, port.name, values),
    )


def _probe(probe: Probe, port_name: str, values: Mapping[str, object]) -> HttpProbe:
    return HttpProbe(
        path=fill(probe.path, values),
        port=port_name,
        period=probe.period_seconds,
        failures=probe.failure_threshold,
        timeout=probe.timeout_seconds,
        grace=probe.grace_seconds,
    )
