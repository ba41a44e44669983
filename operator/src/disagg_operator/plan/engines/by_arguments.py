"""Engines whose whole configuration is their command line: vLLM, SGLang and Dynamo's mocker.

``engineConfig`` holds their arguments by name. Invariant: an argument is written once, by the release's
command, by a derived setting or by the user. What the resource's own fields say is never the user's to write.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from disagg_operator.plan.engines.config import explained, laid_over, nested
from disagg_operator.plan.engines.engine import Asked, EngineWorker
from disagg_operator.plan.engines.kv_events import kv_event_arguments
from disagg_operator.plan.engines.kvbm import kvbm_arguments, kvbm_environment
from disagg_operator.plan.engines.models import hub_environment, model_mounts, model_path
from disagg_operator.plan.environment import fill, literal
from disagg_operator.plan.model import ConfigSetting, Port, Provenance
from disagg_operator.platforms.flags import ArgumentTable, argument_table

WIRING = dict.fromkeys(
    ("namespace", "endpoint", "discovery-backend", "store-kv", "request-plane", "event-plane"),
    "spec.discovery and the deployment's own scope",
)
"""Arguments of Dynamo's workers by which they find each other, with what says them."""


@dataclass(frozen=True)
class OfPeer:
    """An argument by which one role is told a parallel size of the other, in versions that know it.

    Attributes:
        role: the role that is told.
        field: the size, a field of ``parallelism``.
        argument: the argument.
    """

    role: str
    field: str
    argument: str


@dataclass(frozen=True)
class Dialect:
    """How an engine spells its arguments.

    Attributes:
        name: the engine.
        sizes: the argument of each parallel size that it has, by field of ``parallelism``.
        expert_switch: the argument by which every rank of the tensor parallel size also holds experts, for an
            engine that has no size of its own for them.
        owned: arguments that follow from the resource, with the field that says it.
        of_peer: arguments by which a role is told a size of the other.
        negates: whether ``false`` is written as ``--no-NAME``; else an argument that is false is left out.
        ports: ports beside the one of the probes.
    """

    name: str
    sizes: Mapping[str, str]
    owned: Mapping[str, str]
    expert_switch: str | None = None
    of_peer: tuple[OfPeer, ...] = ()
    negates: bool = False
    ports: tuple[Port, ...] = ()

    @property
    def table(self) -> ArgumentTable:
        """The arguments that the engine's versions know."""
        return argument_table(self.name)

    def worker(self, asked: Asked) -> EngineWorker:
        """Return how the engine runs the workers of a role.

        Raises:
            Refusal: the release cannot use KVBM, or tell of its KV blocks.
        """
        model = asked.resource.spec.model
        values = {**asked.facts, "model_path": model_path(model.source), "model_name": model.name}
        derived = (*self._parallelism(asked), *asked.release_settings())
        config = laid_over(nested(derived), named(asked.spec.engine_config))
        command = (
            *(fill(word, values) for word in asked.release.command),
            *kvbm_arguments(asked),
            *kv_event_arguments(asked),
        )
        return EngineWorker(
            command=(*command, *(literal(word) for word in self.words(config))),
            files={},
            mounts=model_mounts(model.source),
            ports=self.ports,
            environment=(*hub_environment(model.source), *kvbm_environment(asked)),
            config=config,
            settings=explained(config, derived, f"{asked.path}.engineConfig"),
        )

    def words(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Yield the command line that says a configuration."""
        for name, value in config.items():
            if value is None:
                continue
            if value is True:
                yield f"--{name}"
            elif value is False:
                if self.negates and not self.table.is_switch(name):
                    yield f"--no-{name}"
            elif isinstance(value, list) and not any(isinstance(each, Mapping | list) for each in value):
                yield from (f"--{name}", *map(str, value))
            elif str(value).startswith("-"):
                # As a word of its own it might be taken for another argument.
                yield f"--{name}={value}"
            else:
                yield from (f"--{name}", _text(value))

    def _parallelism(self, asked: Asked) -> Iterator[ConfigSetting]:
        sizes, place = asked.spec.parallelism, f"{asked.path}.parallelism"
        for field, name in self.sizes.items():
            size = getattr(sizes, field)
            if size > 1 or field == "tensor":
                reason = f"The {field} parallel size of the role."
                yield ConfigSetting(name, size, Provenance(reason, f"{place}.{field}"))
        yield from self._peer(asked)
        if self.expert_switch is not None and sizes.expert > 1:
            reason = "Every rank of the tensor parallel size holds experts of its own."
            yield ConfigSetting(self.expert_switch, True, Provenance(reason, f"{place}.expert"))

    def _peer(self, asked: Asked) -> Iterator[ConfigSetting]:
        other, peer = asked.peer
        for each in self.of_peer:
            size = getattr(peer.parallelism, each.field)
            if each.role != asked.role or size == getattr(asked.spec.parallelism, each.field):
                continue
            if asked.release.version in self.table.versions_with(each.argument):
                reason = f"The {each.field} parallel size of {other}, which this version has to be told."
                yield ConfigSetting(
                    each.argument, size, Provenance(reason, f"spec.{other}.parallelism.{each.field}")
                )


def named(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration whose arguments are named as on a command line: engines take both spellings.

    They are in the order of their names, as the API server keeps them: what a file is rendered to is what the
    operator makes of it.
    """
    return {name.replace("_", "-"): value for name, value in sorted(config.items())}


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, Mapping | list) else str(value)
