"""Secrets: keys that the operator makes once, each with a placeholder where its key will be."""

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.frontends.trtllm_serve import KEY_FILE
from disagg_operator.plan.model import Plan, RolePlan

PRIVATE_KEY, PUBLIC_KEY = "ssh-privatekey", "ssh-publickey"
_PLACEHOLDER = "The operator makes this key when it makes this Secret, and nobody else knows it."


def ssh_key_secret(plan: Plan, role: RolePlan) -> Object:
    """Return the Secret of a role in one revision, by whose key the pods of its groups let each other in."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(
            plan, names.ssh_key(plan.name, role.role, plan.revision), role.role, plan.revision
        ),
        "type": "kubernetes.io/ssh-auth",
        "immutable": True,
        "stringData": {PRIVATE_KEY: _PLACEHOLDER, PUBLIC_KEY: _PLACEHOLDER},
    }


def request_key_secret(plan: Plan, name: str) -> Object:
    """Return the Secret with the key by which workers know their frontend's requests."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(plan, name, names.FRONTEND),
        "type": "Opaque",
        "immutable": True,
        "stringData": {KEY_FILE: _PLACEHOLDER},
    }
