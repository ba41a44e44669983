"""Services that the operator runs beside the workers of a deployment."""

from typing import Annotated

from pydantic import Field

from disagg_operator.platforms.profile.values import Choice, PodResources, Probe, ProfileModel


class ServiceProfile(ProfileModel):
    """A service that the operator runs where a release needs it and the user names no existing one.

    Templates of words are over ``data`` (folder of its data), ``service`` (name of the Service that knows its
    members, also not ready ones) and ``members`` (all members, each as ``member`` writes it).

    Attributes:
        name: what it is.
        image: container image; an installation or a user may name another.
        scheme: of the URL that clients connect to.
        client_port: port that clients connect to.
        peer_port: port that members connect to each other at.
        health_port: port whose HTTP server answers the probes.
        command: argument vector; the variable ``POD_NAME`` holds the member's name.
        clustered: words that several members have beside it.
        stored: words for one that keeps data, where not each does.
        member: one member in a list of all, a template over ``name`` and ``service``.
        resources: CPU and memory of a member.
        startup, liveness, readiness: probes.
    """

    name: str
    image: Choice
    scheme: str
    client_port: int
    peer_port: int
    health_port: int
    command: Annotated[tuple[str, ...], Field(min_length=1)]
    clustered: tuple[str, ...] = ()
    stored: tuple[str, ...] = ()
    member: str
    resources: PodResources
    startup: Probe
    liveness: Probe
    readiness: Probe
