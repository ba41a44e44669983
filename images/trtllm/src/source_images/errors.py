"""The one error of this package."""

from testcluster.errors import ClusterError


class ImageError(ClusterError):
    """An image cannot be made: what is wrong, what to do about it, and the log if there is one."""
