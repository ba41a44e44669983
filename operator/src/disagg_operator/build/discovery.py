"""etcd and NATS, where the operator runs them: StatefulSet, Services and disruption budget of each."""

from dataclasses import replace

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.build.pods import pod_template
from disagg_operator.plan import names
from disagg_operator.plan.model import Mount, Plan, Port, ServicePlan, VolumePlan

_VOLUME = "data"


def discovery_objects(plan: Plan) -> list[Object]:
    """Return the services that the operator runs for a deployment. They outlive revisions of the workers."""
    found = []
    for service in plan.discovery.services:
        found += [client_service(plan, service), peer_service(plan, service), stateful_set(plan, service)]
        if service.members > 1:
            found.append(disruption_budget(plan, service))
    return found


def client_service(plan: Plan, service: ServicePlan) -> Object:
    """Return the Service that clients connect to. It leads to ready members only."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(plan, service.name, service.kind),
        "spec": {
            "selector": names.service_selector(plan.name, service.name),
            "ports": [_port(service.ports[0])],
        },
    }


def peer_service(plan: Plan, service: ServicePlan) -> Object:
    """Return the headless Service through which members find each other, before any of them is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(plan, service.peers, service.kind),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": names.service_selector(plan.name, service.name),
            "ports": [_port(port) for port in service.ports],
        },
    }


def stateful_set(plan: Plan, service: ServicePlan) -> Object:
    """Return the StatefulSet of a service's members."""
    pod = service.pod
    if service.data is not None:
        # A claim of the StatefulSet takes the place of the volume of its name.
        pod = replace(pod, mounts=(Mount(_VOLUME, service.data, {"emptyDir": {}}),))
    template = pod_template(pod, service.kind, names.service_labels(plan.name, service.kind, service.name))
    spec: Object = {
        "replicas": service.members,
        "serviceName": service.peers,
        # Members need each other to become ready, so none waits for another one.
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": names.service_selector(plan.name, service.name)},
        "template": template,
    }
    if service.members > 1:
        template["spec"]["topologySpreadConstraints"] = [_spread(plan, service)]
    if service.volume is not None:
        template["spec"]["volumes"] = []
        spec["volumeClaimTemplates"] = [_claim(plan, service, service.volume)]
        # Registrations outlive no deployment: nothing in them is worth a volume that is left behind.
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": metadata(plan, service.name, service.kind),
        "spec": spec,
    }


def disruption_budget(plan: Plan, service: ServicePlan) -> Object:
    """Return the budget that lets one member at a time be evicted, so that the others keep a majority."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(plan, service.name, service.kind),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": names.service_selector(plan.name, service.name)},
        },
    }


def _port(port: Port) -> Object:
    return {"name": port.name, "port": port.number, "targetPort": port.name, "protocol": "TCP"}


def _spread(plan: Plan, service: ServicePlan) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": names.LABEL_NODE,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": names.service_selector(plan.name, service.name)},
    }


def _claim(plan: Plan, service: ServicePlan, volume: VolumePlan) -> Object:
    spec: Object = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": volume.size}},
    }
    if volume.storage_class is not None:
        spec["storageClassName"] = volume.storage_class
    labels = names.service_labels(plan.name, service.kind, service.name)
    return {"metadata": {"name": _VOLUME, "labels": labels}, "spec": spec}
