"""ssh keys of pod groups: made once for each Secret, never read back, never logged.

Nobody looks whether a Secret is there: the operator may not read any. It offers a key while one may be
lacking, and a Secret that exists is left as it is. One that exists may be on its way out, with a revision or
a namesake before: so the key is offered again and again while a pod waits for its volumes.
"""

from disagg_operator.build.secret import PRIVATE_KEY, PUBLIC_KEY
from disagg_operator.plan import names
from disagg_operator.reconcile.kinds import Object
from disagg_operator.reconcile.observe import Observed, has_node, has_started, label


def may_lack(secret: Object, observed: Observed) -> bool:
    """Tell whether a Secret may be missing: its groups are new, or a pod of theirs waits."""
    identity = _of(secret)
    return identity not in map(_of, observed.groups()) or identity in map(_of, _waiting(observed))


def is_awaited(observed: Observed) -> bool:
    """Tell whether a pod waits that may wait for a key."""
    return bool(_waiting(observed))


def _waiting(observed: Observed) -> list[Object]:
    """Return the pods of groups that have a node and wait for what they need to start."""
    return [
        pod
        for pod in observed.pods
        if label(pod, names.LABEL_GROUP) and has_node(pod) and not has_started(pod)
    ]


def _of(obj: Object) -> tuple[str, str]:
    return label(obj, names.LABEL_ROLE), label(obj, names.LABEL_REVISION)


def new_key() -> dict[str, str]:
    """Return the content of a new key's Secret: a pair of ed25519 keys in OpenSSH's format."""
    # 10 MB of memory that only groups of several nodes need.
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return {PRIVATE_KEY: private.decode(), PUBLIC_KEY: f"{public.decode()}\n"}


def with_new_key(secret: Object) -> Object:
    """Return the Secret with a key of its own in place of its placeholder."""
    return {**secret, "stringData": new_key()}
