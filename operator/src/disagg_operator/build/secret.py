"""Secrets: the key by which the pods of a role's pod groups let each other in."""

from disagg_operator.build.metadata import Object, metadata
from disagg_operator.plan import names
from disagg_operator.plan.model import Plan, RolePlan

PRIVATE_KEY, PUBLIC_KEY = "ssh-privatekey", "ssh-publickey"
_PLACEHOLDER = "The operator makes this key when it makes this Secret, and nobody else knows it."


def ssh_key_secret(plan: Plan, role: RolePlan) -> Object:
    """Return the Secret of a role in one revision, with a placeholder where its key will be."""
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
