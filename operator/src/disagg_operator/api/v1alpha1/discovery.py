"""How frontend and workers find each other, and the services that some releases need for it."""

from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from disagg_operator.api.v1alpha1.base import ApiModel, ObjectName, Quantity
from disagg_operator.api.v1alpha1.markers import cel, list_set, rules, whole
from disagg_operator.api.v1alpha1.patterns import HTTP_URL, NATS_URL, NO_SPACE


class DiscoveryBackend(StrEnum):
    """Where workers announce themselves."""

    KUBERNETES = "kubernetes"
    ETCD = "etcd"
    STATIC = "static"


class ServiceStorage(ApiModel):
    """A volume for each member of a service that the operator runs. It goes with its member."""

    size: Quantity
    """Size of the volume in bytes, such as 1Gi."""
    storage_class_name: ObjectName | None = None
    """StorageClass of the volume. Default: the cluster's own default."""


def _own_or_external(external: str) -> tuple[dict[str, str], ...]:
    """Return the rules that a service is either run by the operator or named by ``external``."""
    given = f"has(self.{external}) && self.{external}.size() > 0"
    return (
        cel(
            f"!({given}) || !(has(self.managed) && self.managed)",
            f"{external} names an existing service: leave it out, or leave out managed",
            ".managed",
        ),
        cel(
            f"!({given}) || !(has(self.replicas) || has(self.storage) || has(self.image))",
            f"replicas, storage and image are of a managed service: leave them out, or leave out {external}",
            f".{external}",
            "FieldValueForbidden",
        ),
        cel(
            f"({given}) || !has(self.managed) || self.managed",
            f"managed is false: write {external}, or managed: true",
            ".managed",
        ),
        cel(
            "!has(self.replicas) || self.replicas in [1, 3]",
            "two members survive no more than one does: write 1 or 3",
            ".replicas",
        ),
    )


class ServiceSpec(ApiModel):
    """A service beside the workers, run by the operator unless an existing one is named."""

    managed: bool | None = None
    """Whether the operator runs the service. Default: true, unless an existing one is named."""
    replicas: Annotated[int, Field(ge=1, le=3, json_schema_extra=whole())] | None = None
    """Members of a managed service: 1 or 3. Another number makes another service, to which the workers are
    rolled over. Default: 1."""
    storage: ServiceStorage | None = None
    """Volume of each member of a managed service. Another volume makes another service, to which the workers
    are rolled over. Default: none, and what a member stores goes with its pod."""
    image: Annotated[str, Field(pattern=NO_SPACE, max_length=1024)] | None = None
    """Image of a managed service. Default: the installation's."""


class EtcdSpec(ServiceSpec):
    """The etcd in which workers register."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            *_own_or_external("endpoints"),
            cel(
                "!has(self.replicas) || self.replicas < 3 || has(self.storage)",
                "a member that lost its data cannot rejoin the others: write storage, or replicas: 1",
                ".replicas",
            ),
        )
    )

    endpoints: Annotated[
        list[Annotated[str, Field(pattern=HTTP_URL, max_length=1024)]],
        Field(max_length=16, json_schema_extra=list_set()),
    ] = Field(default_factory=list)
    """URLs of an existing etcd, such as ``http://etcd:2379``. Default: the operator runs one."""


class NatsSpec(ServiceSpec):
    """The NATS server through which requests and events go."""

    model_config = ConfigDict(json_schema_extra=rules(*_own_or_external("server")))

    server: Annotated[str, Field(pattern=NATS_URL, max_length=1024)] | None = None
    """URL of an existing NATS server, such as ``nats://nats:4222``. Default: the operator runs one."""


class DiscoverySpec(ApiModel):
    """How frontend and workers find each other."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            cel(
                "!has(self.backend) || self.backend == 'etcd' || !has(self.etcd)",
                "etcd is only for backend etcd: leave it out, or write backend: etcd",
                ".etcd",
                "FieldValueForbidden",
            )
        )
    )

    backend: DiscoveryBackend | None = None
    """Store of the registrations. kubernetes needs no further service; static, for trtllm-serve, is a list
    that follows scaling. Default: etcd if ``etcd`` is there, or else the one of the frontend's release:
    kubernetes from Dynamo 1.0 on, static for trtllm-serve."""
    etcd: EtcdSpec | None = None
    """The etcd in which workers register. Default: with backend etcd, one that the operator runs."""
    nats: NatsSpec | None = None
    """The NATS server. Dynamo before 0.8 needs one; with Dynamo from 1.0 on, requests and events go through
    it where it is asked for. Default: one that the operator runs for releases that need it, or none."""
