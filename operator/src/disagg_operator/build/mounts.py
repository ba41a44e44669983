"""Where a container sees a volume."""

from disagg_operator.build.metadata import Object
from disagg_operator.plan.model import Mount


def volume_mount(mount: Mount) -> Object:
    """Return an entry of a container's ``volumeMounts``."""
    described: Object = {"name": mount.name, "mountPath": mount.path}
    return {**described, "readOnly": True} if mount.read_only else described
