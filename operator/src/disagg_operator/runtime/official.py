"""The official Kubernetes client, of which only the asynchronous half is loaded.

Invariant: this is imported before anything else imports `kubernetes` in the operator's process. The packages
above the asynchronous client import everything beside it, the synchronous client, OAuth and websockets among
it: 9 MB that nobody uses here. They are put in place without being run; what is imported from them by its
full name is found as ever.
"""

import sys
from importlib.util import find_spec, module_from_spec

for _package in ("kubernetes", "kubernetes.aio"):
    if _package not in sys.modules and (_spec := find_spec(_package)) is not None:
        sys.modules[_package] = module_from_spec(_spec)

from kubernetes.aio.client import ApiClient, Configuration  # noqa: E402 - what goes before is for this
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config  # noqa: E402

__all__ = ["ApiClient", "ConfigException", "Configuration", "load_incluster_config", "load_kube_config"]
