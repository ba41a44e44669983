"""Names are an API: every name and label key that the operator gives out is made here.

| object | name |
|---|---|
| StatefulSet of a role | ``<base>-<role>-<revision>`` |
| Service and ConfigMap of both roles | ``<base>-worker-<revision>`` |
| Service of a role, where only one has pod groups | ``<base>-<role>-<revision>`` |
| StatefulSet and PodGroup of a pod group of several nodes | ``<base>-<role>-<revision>-<group>`` |
| Service of all pods of these groups | ``<base>-<role>-<revision>-all`` |
| Secret with these groups' ssh key | ``<base>-<role>-<revision>-ssh`` |
| frontend Deployment and Service | ``<base>-frontend`` |
| ConfigMap of the frontend | ``<base>-frontend-<hash of its files>`` |
| Secret with the key of the frontend's requests | ``<base>-request-key`` |
| PodDisruptionBudget of a role or the frontend | ``<base>-<role or frontend>`` |
| NetworkPolicy of all pods, or of all but the frontend | ``<base>-network`` |
| NetworkPolicy of the frontend alone | ``<base>-frontend`` |
| DisaggScaler of a role | ``<deployment>-<role>`` |
| ServiceAccount | ``<base>-worker`` |
| RoleBinding | ``<base>-worker-<hash of what it binds>`` |
| StatefulSet, Service and PodDisruptionBudget of a service | ``<base>-<etcd or nats>-<hash of its shape>`` |
| Service through which its members find each other | ``<name of the StatefulSet>-peers`` |
| Job that fetches a model | ``<base>-model-<hash of what is fetched, and how>`` |
| ComputeDomain | ``<base>-compute-domain`` |
| its ResourceClaimTemplate, made by NVIDIA's driver | ``<name of the ComputeDomain>-channel`` |

``<base>`` is the deployment's name, shortened with a hash where it is longer than 22 characters. A group is a
number below 1000.

Invariants: no name of an object with pods is longer than 52 (a StatefulSet's pods carry its name, a dash and
ten characters in a label of at most 63); two deployments of one namespace never get the same name (a
shortened base is always 31 long, one kept as it is at most 22, and the endings of the table never end alike);
no Dynamo namespace begins with another deployment's (its hash comes first and has a fixed length).
"""

from hashlib import sha256

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_APP = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_COMPONENT = "app.kubernetes.io/component"
LABEL_NAMESPACE = "kubernetes.io/metadata.name"
"""Set by Kubernetes on every namespace: its name."""
LABEL_DEPLOYMENT = "disagg.dev/deployment"
LABEL_ROLE = "disagg.dev/role"
LABEL_REVISION = "disagg.dev/revision"
LABEL_GROUP = "disagg.dev/group"
LABEL_NODE = "kubernetes.io/hostname"
"""Set by Kubernetes on every node: a value of its own."""
LABEL_POD_INDEX = "apps.kubernetes.io/pod-index"
"""Set by Kubernetes on the pods of a StatefulSet; in a pod group it is the rank of the node."""
LABEL_GROUP_SIZE = "disagg.dev/group-size"
"""Number of pods of a pod group, which is that of its nodes."""
LABEL_WORLD_SIZE = "disagg.dev/world-size"
"""Number of ranks of a pod group."""
LABEL_SERVICE = "disagg.dev/service"
ANNOTATION_PAUSED = "disagg.dev/paused"
ANNOTATION_SSH_KEY = "disagg.dev/ssh-key"
ANNOTATION_RETRY = "disagg.dev/rollout-retry"
"""Asks for another try of a revision whose rollout failed, again whenever its text changes."""
ANNOTATION_NODES = "disagg.dev/group-nodes"
"""Pods of a pod group whose pods a rollout has taken, by which it can be restored."""
ANNOTATION_VERIFY = "disagg.dev/verify"
"""Asks for a verification of the transport, again whenever its text changes."""
CONDITION_TRANSPORT_VERIFIED = "disagg.dev/transport-verified"
"""Condition of frontend pods that must be true before they are ready, where verification is enforced."""
LABEL_REACH = "disagg.dev/reach"
"""On frontend pods that find workers by their revision: the revision that they send requests to, or ALL."""
ALL = "all"
ANNOTATION_REPLAN = "disagg.dev/replan"
"""Asks for the pods that this version of the operator plans, again whenever its text changes."""
ANNOTATION_PLANNED_FOR = "disagg.dev/planned-for"
"""What an object's pods were planned from, and which pods came of it, as two hashes."""
ANNOTATION_STORED_OTHERWISE = "disagg.dev/stored-otherwise"
"""Fields that the API server stores otherwise than they were applied."""
ANNOTATION_APPLIED_HASH = "disagg.dev/applied-hash"
MANAGER = "disagg-operator"
APP = "disagg-deployment"
FRONTEND = "frontend"
WORKER = "worker"
"""Component of what both roles share."""
NETWORK = "network"
"""Component of a NetworkPolicy of several components."""
OPERATOR = "operator"
"""Component of the operator's own pods, as the chart labels them."""
DOWNLOAD = "model"
"""Component of what fetches the model."""

_KEPT = 22
_HASH = 8


def digest(text: str) -> str:
    """Return eight hexadecimal characters that stand for ``text``."""
    return sha256(text.encode()).hexdigest()[:_HASH]


def base(deployment: str) -> str:
    """Return the beginning of all names of a deployment."""
    if len(deployment) <= _KEPT:
        return deployment
    return f"{deployment[:_KEPT]}-{digest(deployment)}"


def worker(deployment: str, role: str, revision: str) -> str:
    """Return the name of the StatefulSet of one role in one revision, and of a Service of its own."""
    return f"{base(deployment)}-{role}-{revision}"


def workers(deployment: str, revision: str) -> str:
    """Return the name of the ConfigMap and the Service that both roles of a revision share."""
    return worker(deployment, WORKER, revision)


def group(deployment: str, role: str, revision: str, number: int) -> str:
    """Return the name of the StatefulSet of one pod group of several nodes."""
    return f"{worker(deployment, role, revision)}-{number}"


def all_pods(deployment: str, role: str, revision: str) -> str:
    """Return the name of the Service that resolves all pods of a role's pod groups, ready or not."""
    return f"{worker(deployment, role, revision)}-all"


def ssh_key(deployment: str, role: str, revision: str) -> str:
    """Return the name of the Secret by which the ranks of a role's pod groups let each other in."""
    return f"{worker(deployment, role, revision)}-ssh"


def frontend(deployment: str) -> str:
    """Return the name of the frontend's Deployment and Service."""
    return f"{base(deployment)}-frontend"


def frontend_files(deployment: str, content: str) -> str:
    """Return the name of the ConfigMap with the frontend's files: another content is another ConfigMap."""
    return f"{frontend(deployment)}-{digest(content)}"


def request_key(deployment: str) -> str:
    """Return the name of the Secret with the key by which workers know their frontend's requests."""
    return f"{base(deployment)}-request-key"


def budget(deployment: str, component: str) -> str:
    """Return the name of the PodDisruptionBudget of a role or of the frontend."""
    return f"{base(deployment)}-{component}"


def scaler(deployment: str, role: str) -> str:
    """Return the name of a role's DisaggScaler: never shortened, since users write it."""
    return f"{deployment}-{role}"


def service_account(deployment: str) -> str:
    """Return the name of the pods' ServiceAccount."""
    return f"{base(deployment)}-worker"


def role_binding(deployment: str, account: str, role: str) -> str:
    """Return the name of the RoleBinding of a ServiceAccount to a role.

    Other ends give another binding: the role of one that exists cannot be changed, and pods of an old
    revision need theirs until they are gone.
    """
    return f"{base(deployment)}-worker-{digest(f'{account} {role}')}"


def network(deployment: str) -> str:
    """Return the name of the NetworkPolicy of a deployment's pods."""
    return f"{base(deployment)}-{NETWORK}"


def service(deployment: str, kind: str, shape: str) -> str:
    """Return the name of an etcd or NATS that the operator runs.

    Args:
        deployment: name of the DisaggDeployment.
        kind: etcd or nats.
        shape: what cannot change while it runs.
    """
    return f"{base(deployment)}-{kind}-{digest(shape)}"


def download(deployment: str, shape: str) -> str:
    """Return the name of the Job that fetches a model.

    Args:
        deployment: name of the DisaggDeployment.
        shape: what is fetched, and how; a Job cannot be changed.
    """
    return f"{base(deployment)}-{DOWNLOAD}-{digest(shape)}"


def service_peers(service: str) -> str:
    """Return the name of the Service through which the members of a service find each other."""
    return f"{service}-peers"


def compute_domain(deployment: str) -> str:
    """Return the name of the ComputeDomain that is made for a deployment."""
    return f"{base(deployment)}-compute-domain"


def channel_template(domain: str) -> str:
    """Return the name that we give to the claim template of a ComputeDomain."""
    return f"{domain}-channel"


def dynamo_namespace(namespace: str, deployment: str) -> str:
    """Return the Dynamo namespace of a deployment, without the revision."""
    return f"d{digest(f'{namespace}/{deployment}')}-{base(deployment)}"


def revision_scope(scope: str, revision: str) -> str:
    """Return the Dynamo namespace of the workers of one revision of a deployment.

    Dynamo itself puts DYN_NAMESPACE_WORKER_SUFFIX, which is the revision, after DYN_NAMESPACE.

    Args:
        scope: Dynamo namespace of the deployment.
        revision: the revision.
    """
    return f"{scope}-{revision}"


def labels(
    deployment: str, component: str, revision: str | None = None, number: int | None = None
) -> dict[str, str]:
    """Return the labels of an object of a deployment.

    Args:
        deployment: name of the DisaggDeployment.
        component: prefill, decode, frontend, etcd, nats, or worker for what both roles share.
        revision: revision of the workers, where the object belongs to one.
        number: number of the pod group, where the object belongs to one of several nodes.
    """
    found = {
        LABEL_MANAGED_BY: MANAGER,
        LABEL_APP: APP,
        LABEL_INSTANCE: deployment,
        LABEL_COMPONENT: component,
        LABEL_DEPLOYMENT: deployment,
        LABEL_ROLE: component,
    }
    return {**found, **_versioned(revision, number)}


def service_labels(deployment: str, kind: str, service: str) -> dict[str, str]:
    """Return the labels of the pods of an etcd or NATS by the name of ``service``."""
    return {**labels(deployment, kind), LABEL_SERVICE: service}


def service_selector(deployment: str, service: str) -> dict[str, str]:
    """Return the labels that select the pods of one etcd or NATS; there are two while workers roll over."""
    return {LABEL_DEPLOYMENT: deployment, LABEL_SERVICE: service}


def selector(
    deployment: str, component: str, revision: str | None = None, number: int | None = None
) -> dict[str, str]:
    """Return the labels that select the pods of a component, of one revision or one pod group."""
    return {LABEL_DEPLOYMENT: deployment, LABEL_ROLE: component, **_versioned(revision, number)}


def revision_selector(deployment: str, revision: str, role: str | None) -> dict[str, str]:
    """Return the labels that select the workers of a revision, of one role or (None) of both."""
    if role is not None:
        return selector(deployment, role, revision)
    return {LABEL_DEPLOYMENT: deployment, LABEL_REVISION: revision}


def _versioned(revision: str | None, number: int | None) -> dict[str, str]:
    found = {} if revision is None else {LABEL_REVISION: revision}
    return found if number is None else {**found, LABEL_GROUP: str(number)}
