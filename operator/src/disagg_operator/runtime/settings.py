"""Settings of the operator process, from its environment. The chart sets them.

Invariant: a value that makes no sense stops the process at its start with one line that names the variable.
"""

import json
import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from disagg_operator.api.admission.network import peer_faults
from disagg_operator.api.v1alpha1.patterns import ABSOLUTE_PATH
from disagg_operator.plan.discovery.stores import ETCD, NATS
from disagg_operator.plan.installation import HostAccess, Installation
from disagg_operator.platforms.catalogue import builtin
from disagg_operator.platforms.faults import ProfileError
from disagg_operator.platforms.folder import with_folder

PREFIX = "DISAGG_"
_FROM_POD = {"pod_name": "POD_NAME", "pod_namespace": "POD_NAMESPACE"}

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", max_length=253)]


class SettingsError(Exception):
    """The environment holds a value that the operator cannot run with."""


class Settings(BaseModel):
    """What one operator process runs with. Each field is the variable ``DISAGG_<FIELD>``."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    worker_image: Annotated[str, Field(min_length=1)]
    """Image of the reference engine and its frontend."""
    discovery_role_kind: Literal["ClusterRole", "Role"] = "ClusterRole"
    """Kind of the role that lets pods use Kubernetes discovery."""
    discovery_role_name: Name = "disagg-operator-discovery"
    """Name of that role."""
    etcd_image: str = ""
    """Image of the etcd that the operator runs. Default: its profile's."""
    nats_image: str = ""
    """Image of the NATS server that the operator runs. Default: its profile's."""
    namespaces: tuple[Name, ...] = ()
    """Namespaces to watch, separated by commas. Empty: all."""
    lease_namespace: Name = "default"
    """Namespace of the Lease. Default: the pod's."""
    lease_name: Name = "disagg-operator"
    """Name of the Lease that one operator process holds."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged."""
    log_format: Literal["json", "text"] = "json"
    """Form of a log line."""
    http_host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    """Address that health and metrics are served on."""
    http_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics."""
    certificate_folder: str = "/etc/disagg/webhook"
    """Folder of the webhook's certificate: tls.crt and tls.key."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """Deployments that are reconciled at the same time."""
    resync_seconds: Annotated[float, Field(ge=1)] = 600.0
    """Time after which a deployment is reconciled though nothing happened, ± 20 %."""
    platforms: Path | None = None
    """Folder of further profiles: machines/NAME.yaml and fabrics/NAME.yaml. Default: none."""
    preflight_nodes: bool = True
    """Whether the cluster's nodes, namespaces and DeviceClasses may be read, to check deployments against."""
    compute_domains: bool = True
    """Whether ComputeDomains and ResourceClaimTemplates may be read, and ComputeDomains made and deleted."""
    gang_scheduling: bool = True
    """Whether PodGroups may be created, by which instances on several nodes are scheduled all or none."""
    host_access: Literal["Profile", "PodSecurity"] = "PodSecurity"
    """What resources may ask of their nodes: what installed profiles give, or all that Pod Security lets."""
    host_paths: tuple[Annotated[str, Field(pattern=ABSOLUTE_PATH)], ...] = ()
    """With Profile: directories of nodes that may be mounted all the same, separated by commas."""
    network_policies: bool = True
    """Whether NetworkPolicies may be read, made and deleted, which fence the pods of deployments."""
    metrics_from: tuple[dict[str, Any], ...] = ()
    """Who may read metrics of deployments, as a JSON list of peers of a NetworkPolicy. Default: nobody."""
    pod_name: str = ""
    """Name of the operator's pod, which the Lease and Events show."""
    pod_namespace: str = ""
    """Namespace of the operator's pod."""

    def installation(self) -> Installation:
        """Return what planning needs to know of this installation.

        Raises:
            SettingsError: a profile of the installation cannot be used.
        """
        catalogue = builtin()
        if self.platforms is not None:
            try:
                catalogue = with_folder(catalogue, self.platforms)
            except ProfileError as error:
                raise SettingsError(f"{_variable('platforms')}={self.platforms}: {error}") from None
        return Installation(
            worker_image=self.worker_image,
            discovery_role_kind=self.discovery_role_kind,
            discovery_role_name=self.discovery_role_name,
            service_images={
                kind: image for kind, image in ((ETCD, self.etcd_image), (NATS, self.nats_image)) if image
            },
            namespace=self.pod_namespace,
            network_policies=self.network_policies,
            metrics_from=self.metrics_from,
            catalogue=catalogue,
            host=HostAccess(limited=self.host_access == "Profile", paths=self.host_paths),
        )


def from_environment(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        environment: variables by name; the process's own by default.

    Raises:
        SettingsError: a variable is missing or has a value that makes no sense.
    """
    variables = os.environ if environment is None else environment
    given = {
        field: value
        for field in Settings.model_fields
        if (value := variables.get(_variable(field), "").strip()) != ""
    }
    values: dict[str, object] = {"pod_name": socket.gethostname(), **given}
    values.setdefault("lease_namespace", given.get("pod_namespace", "default"))
    for field in ("namespaces", "host_paths"):
        if field in given:
            values[field] = [each.strip() for each in given[field].split(",") if each.strip()]
    if "metrics_from" in given:
        values["metrics_from"] = _peers(given["metrics_from"])
    if "log_level" in given:
        values["log_level"] = given["log_level"].upper()
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsError("; ".join(_line(fault) for fault in error.errors())) from None


def _peers(text: str) -> list[object]:
    variable = _variable("metrics_from")
    try:
        peers = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{variable} is no JSON: {error}") from None
    if not isinstance(peers, list):
        raise SettingsError(f"{variable} must be a list")
    for index, peer in enumerate(peers):
        for fault in peer_faults(f"{variable}[{index}]", peer):
            raise SettingsError(f"{fault.field} {fault.fault}. {fault.remedy}")
    return peers


def _variable(field: str) -> str:
    return _FROM_POD.get(field, f"{PREFIX}{field.upper()}")


def _line(fault: Mapping[str, object]) -> str:
    location = fault["loc"]
    field = str(location[0]) if isinstance(location, tuple) and location else ""
    if fault["type"] == "missing":
        return f"{_variable(field)} is not set"
    return f"{_variable(field)}={fault['input']!r}: {str(fault['msg'])[:1].lower()}{str(fault['msg'])[1:]}"
