"""Engines inside a release: their images, how they move KV cache, and how their ranks are started."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from disagg_operator.platforms.profile.layer import Layer, Variable
from disagg_operator.platforms.profile.values import Choice, Conditional, Sourced


class Method(Choice):
    """A library that moves KV cache.

    Attributes:
        doubt: what speaks against it; whoever chooses it is told.
    """

    doubt: str | None = None


class EngineSetting(Conditional):
    """A setting of an engine's configuration file that the user may override.

    Attributes:
        name: unique within the release.
        key: path of the setting, its parts separated by dots.
        value: what the file holds; null is a value.
    """

    name: str
    key: str
    value: Any


class Kvbm(Sourced):
    """How an engine's prefill workers keep KV cache in Dynamo's KV block manager.

    Attributes:
        arguments: words that are added to the worker's command.
    """

    arguments: tuple[str, ...]


class KvEvents(Sourced):
    """How an engine's workers tell Dynamo's router which KV blocks they have.

    Attributes:
        arguments: words that are added to the worker's command, templates over ``tokens_per_block``.
    """

    arguments: tuple[str, ...] = ()


class Wedged(Sourced):
    """Words with which an engine says that it cannot move KV cache until its process is started anew.

    Attributes:
        pattern: regular expression (Python's) that is looked for in each line of its output.
    """

    pattern: Annotated[str, Field(min_length=8)]

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        return pattern


class MpiLaunch(Sourced):
    """How the ranks of a model instance on several nodes are started: by mpirun, over ssh.

    Attributes:
        wrapper: what each rank runs, with the worker's command as arguments.
        ssh_port: port on which the other nodes let the leader in.
        wait_seconds: time that the other nodes have to appear.
        open_mpi: settings of mpirun by major version of Open MPI; what the image holds decides. Values are
            jinja2 templates over ``ssh_config``, the path of ssh's configuration.
    """

    wrapper: tuple[str, ...] = ()
    ssh_port: Annotated[int, Field(ge=1024, le=65535)]
    wait_seconds: Annotated[int, Field(ge=1)]
    open_mpi: Annotated[Mapping[str, tuple[Variable, ...]], Field(min_length=1)]


class Meeting(Sourced):
    """How the ranks of a model instance on several nodes find each other, where the engine sees to it itself.

    Attributes:
        port: port on which the first node awaits the others.
        wait_seconds: time that the first node has to appear.
        arguments: words that the worker's command gets on every node, jinja2 templates over ``nodes`` and
            ``port``; Kubernetes fills in ``$(DISAGG_LEADER)`` and ``$(DISAGG_NODE_RANK)``.
        follower_arguments: words that it gets on every node but the first.
    """

    port: Annotated[int, Field(ge=1024, le=65535)]
    wait_seconds: Annotated[int, Field(ge=1)]
    arguments: tuple[str, ...]
    follower_arguments: tuple[str, ...] = ()


class EngineRelease(Layer):
    """An engine inside one version of a frontend's release.

    Attributes:
        version: the engine's own version.
        tried: where this engine of this release was run by the project; none if it was only rendered and
            compared with documents.
        images: image references (jinja2 templates); the first that applies is the default. None: the
            installation's worker image, or a built one.
        built: the command that builds an image where none is published.
        methods: libraries that can move KV cache; the first that applies is the default.
        nixl_backends: NIXL plugins that the engine can load; none: all that the fabric offers.
        own_user: whether the image runs as a user of its own and writes to its root filesystem.
        user: id of that user, where it is known.
        command: argument vector of a worker, each word a jinja2 template; empty where code makes it.
        settings: what the engine's configuration file holds beside what the specification says.
        kvbm: how it uses Dynamo's KV block manager; none if it cannot.
        kv_events: how its workers tell the frontend's router which KV blocks they have; none if they cannot.
        local_prefill: why its decode workers compute prompts that the frontend leaves to them; none if they
            refuse them.
        launch: how an instance on several nodes is started by mpirun; none where it is not.
        meeting: how its nodes find each other without; where there is neither, an instance has one node.
        simulated: why no KV cache moves; none for an engine that computes.
        blind_to_reads: why nobody can ask a prefill worker whether its KV cache was read, so that it has to
            outlast the transfer's time-out; none if the engine itself waits for its readers.
        wedged: what it says when only a restart lets it move KV cache again.
    """

    version: str
    tried: Sourced | None = None
    images: tuple[Choice, ...] = ()
    built: Choice | None = None
    methods: Annotated[tuple[Method, ...], Field(min_length=1)]
    nixl_backends: tuple[Choice, ...] = ()
    own_user: bool = False
    user: int | None = None
    command: tuple[str, ...] = ()
    settings: tuple[EngineSetting, ...] = ()
    kvbm: Kvbm | None = None
    kv_events: KvEvents | None = None
    local_prefill: Sourced | None = None
    launch: MpiLaunch | None = None
    meeting: Meeting | None = None
    simulated: Sourced | None = None
    blind_to_reads: Sourced | None = None
    wedged: tuple[Wedged, ...] = ()
