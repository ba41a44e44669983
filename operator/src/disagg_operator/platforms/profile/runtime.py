"""Runtimes: one version of a frontend's release, with the engines that it can run."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from disagg_operator.api.v1alpha1.runtime import RouterMode
from disagg_operator.platforms.profile.engine import EngineRelease
from disagg_operator.platforms.profile.layer import Variable
from disagg_operator.platforms.profile.values import (
    Choice,
    Conditional,
    PodResources,
    Probe,
    ProfileModel,
    Sourced,
)


class Drain(Conditional):
    """What a component waits for before it is asked to end.

    Attributes:
        path: HTTP path of its metrics.
        gauge: end of the name of the metric that counts its requests; what precedes it can be set. None where
            it counts none, and finishes what runs by itself once it is asked to end.
        route_seconds: time until nobody sends it requests any more.
    """

    path: str = ""
    gauge: str | None = None
    route_seconds: int


class Component(ProfileModel):
    """What one component of a runtime needs.

    Attributes:
        port: port whose HTTP server answers the probes.
        command: argument vector, each word a jinja2 template; empty where the engine decides.
        environment: variables of its container.
        model_files: why it must see the model's files; none if it need not.
        resources: CPU and memory of a frontend, where they are not the platform's.
        startup, liveness, readiness: probes.
        drain: what it waits for before it is asked to end; none if it needs not, or if that helps nothing.
    """

    port: int
    command: tuple[str, ...] = ()
    model_files: Sourced | None = None
    resources: PodResources | None = None
    environment: tuple[Variable, ...] = ()
    startup: Probe
    liveness: Probe
    readiness: Probe
    drain: Drain | None = None


class Takeover(Sourced):
    """When a new revision of the workers may take over: seconds after it is ready."""

    seconds: int


class NatsUse(Sourced):
    """What a release does with a NATS server.

    Attributes:
        needed: whether it does not start without one; else it uses one where it is asked to.
        jetstream: whether it stores something in it.
    """

    needed: bool
    jetstream: bool


class Discovery(ProfileModel):
    """Where the frontend and the workers of a release find each other.

    Attributes:
        backends: stores of registrations that it knows (kubernetes, etcd), the default first.
        nats: what it does with a NATS server; none where it has no use for one.
    """

    backends: Annotated[tuple[Choice, ...], Field(min_length=1)]
    nats: NatsUse | None = None


class Routing(Sourced):
    """What a release calls a way to choose a worker.

    Attributes:
        mode: as users write it.
        type: as its configuration file has it.
    """

    mode: RouterMode
    type: str


class Orchestrator(ProfileModel):
    """What the configuration file of one version of ``trtllm-serve disaggregated`` may say.

    Attributes:
        routing: how a worker may be chosen.
        keys: what users may write into it. Its parser takes any other key, and does nothing with it.
        tokenizer_folder: that a router which looks for KV cache may be told where the tokenizer is; none if
            it looks for one by the name of the model that a request asks for.
        request_key: that orchestrator and workers may be given a key, by which workers know whose requests
            may name an address to read KV cache from; none if workers would not start with one.
    """

    routing: Annotated[tuple[Routing, ...], Field(min_length=1)]
    keys: tuple[str, ...]
    tokenizer_folder: Sourced | None = None
    request_key: Sourced | None = None


LocalPrefillField = Literal["prefixHit.maxNewTokens", "prefixHit.minPercent", "prefillLoadPercent"]
"""A field of ``spec.localPrefill`` by which a frontend can leave prompts to decode."""


class LocalPrefill(Sourced):
    """By what a release's frontend leaves prompts to decode.

    Attributes:
        by: the fields of ``spec.localPrefill`` that it can go by.
    """

    by: tuple[LocalPrefillField, ...]


class Doubt(Sourced):
    """What users of a release are told: the reason is the fault."""

    name: str
    remedy: str


class RuntimeProfile(ProfileModel):
    """One version of a frontend's release: how its parts are started, found, probed and replaced.

    Attributes:
        discovery: where its parts find each other.
        strategies: rollout strategies that it allows; others would let two revisions meet.
        local_prefill: by what its frontend leaves prompts to decode; none if it sends all to prefill.
        doubts: what its users are told.
        engines: the engines that it can run, by name.
        orchestrator: what its configuration file may say, where the frontend has one.
    """

    name: str
    version: str
    discovery: Discovery
    strategies: Annotated[tuple[Choice, ...], Field(min_length=1)]
    local_prefill: LocalPrefill | None = None
    doubts: tuple[Doubt, ...] = ()
    takeover: Takeover
    environment: tuple[Variable, ...]
    worker: Component
    frontend: Component
    engines: Mapping[str, EngineRelease]
    orchestrator: Orchestrator | None = None
