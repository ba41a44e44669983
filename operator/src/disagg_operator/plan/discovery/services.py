"""The services beside the workers that the operator runs: etcd and NATS, from their profiles.

Invariant: what cannot change in a running service (its members, their volumes) is part of its name, so that
another wish makes another service, to which the workers are rolled over; the old one goes after the last
worker that uses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from disagg_operator.api.v1alpha1.discovery import ServiceSpec
from disagg_operator.api.v1alpha1.placement import PlacementSpec
from disagg_operator.plan import names
from disagg_operator.plan.environment import fill
from disagg_operator.plan.facts import provenance
from disagg_operator.plan.model import (
    EnvSetting,
    HttpProbe,
    PodPlan,
    Port,
    Provenance,
    ServicePlan,
    VolumePlan,
)
from disagg_operator.platforms.profile import Probe, ServiceProfile

DATA = "/data"
_GRACE_SECONDS = 30
_HEALTH = "health"
_MEMBER = EnvSetting(
    "POD_NAME",
    None,
    {"fieldRef": {"fieldPath": "metadata.name"}},
    Provenance("A member is called like its pod.", "https://kubernetes.io/docs/concepts/workloads/pods/"),
)


@dataclass(frozen=True)
class ServicePlanner:
    """Plans the services of one deployment.

    Attributes:
        deployment, namespace: of the DisaggDeployment.
        placement: where its pods may run.
        pull_secrets: names of Secrets with registry credentials.
        profiles: profiles of services by name.
        images: images that the installation names, by service.
    """

    deployment: str
    namespace: str
    placement: PlacementSpec
    pull_secrets: tuple[str, ...]
    profiles: Mapping[str, ServiceProfile]
    images: Mapping[str, str]

    def plan(self, kind: str, asked: ServiceSpec, *, keeps_data: bool) -> ServicePlan:
        """Plan a service.

        Args:
            kind: name of its profile.
            asked: what the user writes about it.
            keeps_data: whether it keeps data.
        """
        profile = self.profiles[kind]
        members = asked.replicas or 1
        volume = None
        if asked.storage is not None:
            volume = VolumePlan(str(asked.storage.size), asked.storage.storage_class_name)
        fixed = (members, keeps_data, *((volume.size, volume.storage_class) if volume else ()))
        name = names.service(self.deployment, kind, " ".join(map(str, fixed)))
        command = self._command(profile, name, members, keeps_data=keeps_data)
        return ServicePlan(
            kind=kind,
            name=name,
            peers=names.service_peers(name),
            members=members,
            ports=_ports(profile),
            pod=self._pod(profile, self._image(profile, asked), command),
            data=DATA if keeps_data else None,
            volume=volume,
            url=f"{profile.scheme}://{name}.{self.namespace}.svc:{profile.client_port}",
        )

    def _image(self, profile: ServiceProfile, asked: ServiceSpec) -> tuple[str, Provenance]:
        if asked.image is not None:
            return asked.image, Provenance("Set by the user.", f"spec.discovery.{profile.name}.image")
        if profile.name in self.images:
            source = f"the chart's discovery.{profile.name}.image"
            return self.images[profile.name], Provenance("Set by the installation.", source)
        return profile.image.value, provenance(profile.image)

    def _command(
        self, profile: ServiceProfile, name: str, members: int, *, keeps_data: bool
    ) -> tuple[str, ...]:
        values = {"data": DATA, "service": f"{names.service_peers(name)}.{self.namespace}.svc"}
        pods = [f"{name}-{number}" for number in range(members)]
        values["members"] = ",".join(fill(profile.member, {**values, "name": pod}) for pod in pods)
        words = [
            *profile.command,
            *(profile.clustered if members > 1 else ()),
            *(profile.stored if keeps_data else ()),
        ]
        return tuple(fill(word, values) for word in words)

    def _pod(
        self, profile: ServiceProfile, chosen: tuple[str, Provenance], command: tuple[str, ...]
    ) -> PodPlan:
        image, why_image = chosen
        given = {"requests": profile.resources.requests, "limits": profile.resources.limits}
        return PodPlan(
            image=image,
            pull_policy=None,
            pull_secrets=self.pull_secrets,
            command=command,
            environment=(_MEMBER,),
            ports=_ports(profile),
            startup=_probe(profile.startup, profile),
            liveness=_probe(profile.liveness, profile),
            readiness=_probe(profile.readiness, profile),
            mounts=(),
            resources={key: dict(value) for key, value in given.items() if value},
            service_account=None,
            node_selector=self.placement.node_selector,
            tolerations=tuple(self.placement.tolerations),
            grace_seconds=_GRACE_SECONDS,
            overrides={},
            image_provenance=why_image,
            resources_provenance=provenance(profile.resources),
        )


def _ports(profile: ServiceProfile) -> tuple[Port, ...]:
    ports = (Port("client", profile.client_port), Port("peer", profile.peer_port))
    return (
        ports if profile.health_port == profile.client_port else (*ports, Port(_HEALTH, profile.health_port))
    )


def _probe(probe: Probe, profile: ServiceProfile) -> HttpProbe:
    return HttpProbe(
        path=probe.path,
        port="client" if profile.health_port == profile.client_port else _HEALTH,
        period=probe.period_seconds,
        failures=probe.failure_threshold,
        timeout=probe.timeout_seconds,
    )
