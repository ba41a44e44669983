"""ssh keys of pod groups: made once for each Secret, never read back, never logged."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from disagg_operator.build.secret import PRIVATE_KEY, PUBLIC_KEY
from disagg_operator.reconcile.kinds import Object


def new_key() -> dict[str, str]:
    """Return the content of a new key's Secret: a pair of ed25519 keys in OpenSSH's format."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return {PRIVATE_KEY: private.decode(), PUBLIC_KEY: f"{public.decode()}\n"}


def with_new_key(secret: Object, owner: Object) -> Object:
    """Return the Secret with a key of its own, which goes when its owner does.

    Args:
        secret: a Secret with a placeholder.
        owner: an object that lives as long as the pods that use the key.
    """
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    metadata = {**secret["metadata"], "ownerReferences": [reference]}
    return {**secret, "metadata": metadata, "stringData": new_key()}
