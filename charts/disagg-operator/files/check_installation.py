"""Checks an installed chart from inside the cluster: the operator is ready, DisaggDeployments are served.

Runs in the operator image by `helm test`, as the operator's service account, with only the standard library.
"""

import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
API_SERVER = "https://kubernetes.default.svc"
ATTEMPTS = 15


def operator_ready() -> None:
    """Ask the operator's Service whether it is ready, if the release has one."""
    url = os.environ.get("READY_URL")
    if url:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310
            print(f"ok: {url} answered {answer.status}")


def resource_served() -> None:
    """List DisaggDeployments where the operator serves them."""
    token = (ACCOUNT / "token").read_text()
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    for namespace in os.environ["NAMESPACES"].split(","):
        scope = f"namespaces/{namespace}/" if namespace else ""
        url = f"{API_SERVER}/apis/disagg.dev/v1alpha1/{scope}disaggdeployments?limit=1"
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=5, context=context):  # noqa: S310
            print(f"ok: DisaggDeployments are served in {namespace or 'the whole cluster'}")


def main() -> int:
    """Try for half a minute, since an installation may still be starting."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            operator_ready()
            resource_served()
        except (OSError, urllib.error.HTTPError) as error:
            print(f"attempt {attempt} of {ATTEMPTS}: {error}", file=sys.stderr)
            time.sleep(2)
        else:
            return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
