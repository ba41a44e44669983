"""The cluster as a person at a terminal uses it: kubectl, and HTTP to services and pods."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from testcluster import kubectl

Object = dict[str, Any]
T = TypeVar("T")

_PROXY_ADDRESS = re.compile(r"127\.0\.0\.1:\d+")


class KubectlError(Exception):
    """Kubectl failed; the text is what it wrote for people."""


class Kubectl(kubectl.Kubectl):
    """Kubectl that tells the whole of what a person would read, and reaches into the cluster."""

    def __call__(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl and return its standard output.

        Args:
            arguments: command line, without the program.
            stdin: what it reads.
            timeout: longest time, in seconds.

        Raises:
            KubectlError: if it fails.
        """
        done = subprocess.run(
            self.argv(*map(str, arguments)),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise KubectlError(done.stderr)
        return done.stdout

    def apply_to(self, namespace: str, obj: Object) -> None:
        """Apply an object to a namespace as `kubectl apply -f -` does."""
        self("apply", f"--namespace={namespace}", "--filename=-", stdin=json.dumps(obj))

    def get(self, kind: str, name: str, namespace: str) -> Object:
        """Return one object."""
        found: Object = json.loads(self("get", kind, name, f"--namespace={namespace}", "--output=json"))
        return found

    def list(self, kinds: str, namespace: str, selector: str = "") -> list[Object]:
        """Return the objects of some kinds, by label selector."""
        text = self("get", kinds, f"--namespace={namespace}", f"--selector={selector}", "--output=json")
        found: list[Object] = json.loads(text)["items"]
        return found

    @contextmanager
    def proxy(self) -> Iterator[httpx.Client]:
        """Serve the API on the loopback, and yield an HTTP client that speaks to it with our identity."""
        with subprocess.Popen(self.argv("proxy", "--port=0"), stdout=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                address = _PROXY_ADDRESS.search(process.stdout.readline())
                assert address, "kubectl proxy did not start"
                with httpx.Client(base_url=f"http://{address[0]}", timeout=60, trust_env=False) as client:
                    yield client
            finally:
                process.terminate()


def eventually(check: Callable[[], T], timeout: float, every: float = 0.5) -> T:
    """Call ``check`` until nothing is missing any more, and return what it returned.

    Args:
        check: what must hold in the end. A failed assertion tells what is missing; so does a failed kubectl,
            or the one object, key or entry that is not there yet (ValueError, LookupError).
        timeout: longest time, in seconds.
        every: pause between two calls, in seconds.

    Raises:
        AssertionError: it did not hold in time; the last message is told.
    """
    deadline = time.monotonic() + timeout
    while True:
        try:
            return check()
        except (AssertionError, KubectlError, LookupError, ValueError) as error:
            if time.monotonic() > deadline:
                raise AssertionError(f"still not so after {timeout:g} s: {error}") from error
        time.sleep(every)
