"""STAND-IN for the kubelet and the cluster's network: runs the pods of one pod group on this machine.

A pod is a container's command with its own network, mounts, processes and host name. It runs the very
command, scripts and variables of the rendered objects; what the kubelet adds (fields of the pod, files, the
key) is added here. Names resolve once a pod is in the hosts file, as they do once a pod has its address.
"""

import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Object = dict[str, Any]

USER = 1000
"""User of the stand-in image, as NVIDIA's image has one of its own."""
_SETUP = f"""
set -e
mount --make-rprivate /
mount -t tmpfs none /mnt
cp -a /etc /mnt/etc
mkdir /mnt/etc/disagg /mnt/etc/disagg-ssh /mnt/home
cp "$ROOT/files"/* /mnt/etc/disagg
cp "$ROOT/key"/* /mnt/etc/disagg-ssh
ln -sf "$ROOT/hosts" /mnt/etc/hosts
sed -i '/:{USER}:/d' /mnt/etc/passwd
echo 'dynamo:x:{USER}:{USER}::/home/dynamo:/bin/bash' >>/mnt/etc/passwd
mount --bind /mnt/etc /etc
mkdir /mnt/programs
mount --bind "$PROGRAMS" /mnt/programs
mount -t tmpfs -o mode=1777 none /tmp
# The checkout, and with it programs of its environment, may lie below the machine's /tmp.
if [ ! -d "$PROGRAMS" ]; then
  mkdir -p "$PROGRAMS"
  mount --bind /mnt/programs "$PROGRAMS"
fi
hostname "$NAME"
cd /
exec "$@"
"""


def run(*argv: object) -> str:
    """Run a command of the machine's and return what it prints."""
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass
class Group:
    """The pods of one StatefulSet with several nodes.

    Attributes:
        stateful_set: the StatefulSet, as rendered.
        files: content of its ConfigMap.
        key: content of its Secret.
        image: variables that the image sets.
        root: an empty folder for this group.
        user: user that the image runs as.
    """

    stateful_set: Object
    files: Mapping[str, str]
    key: Mapping[str, str]
    image: Mapping[str, str]
    root: Path
    user: int = USER
    network: str = field(default_factory=lambda: f"dg{secrets.token_hex(3)}")
    pods: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.stateful_set["metadata"]["name"])

    @property
    def nodes(self) -> int:
        return int(self.stateful_set["spec"]["replicas"])

    @property
    def container(self) -> Object:
        found: Object = self.stateful_set["spec"]["template"]["spec"]["containers"][0]
        return found

    def __enter__(self) -> "Group":
        for folder, content in (("files", self.files), ("key", self.key)):
            (self.root / folder).mkdir()
            for name, text in content.items():
                (self.root / folder / name).write_text(text)
        (self.root / "hosts").write_text("127.0.0.1 localhost\n")
        self.root.chmod(0o755)
        run("ip", "link", "add", self.network, "type", "bridge")
        run("ip", "link", "set", self.network, "up")
        for rank in range(self.nodes):
            space = self._space(rank)
            run("ip", "netns", "add", space)
            run("ip", "link", "add", space, "type", "veth", "peer", "name", "eth0", "netns", space)
            run("ip", "link", "set", space, "master", self.network, "up")
            run("ip", "-n", space, "address", "add", f"{self.address(rank)}/24", "dev", "eth0")
            for link in ("lo", "eth0"):
                run("ip", "-n", space, "link", "set", link, "up")
        return self

    def __exit__(self, *_: object) -> None:
        for rank in list(self.pods):
            self.kill(rank)
        for rank in range(self.nodes):
            run("ip", "netns", "delete", self._space(rank))
        run("ip", "link", "delete", self.network)

    def _space(self, rank: int) -> str:
        return f"{self.network}-{rank}"

    def pod(self, rank: int) -> str:
        """Return the name of a pod."""
        return f"{self.name}-{rank}"

    def address(self, rank: int) -> str:
        """Return the address of a pod."""
        return f"10.213.7.{rank + 1}"

    def resolve(self, rank: int) -> None:
        """Give a pod its name in the Service's domain."""
        service = self.stateful_set["spec"]["serviceName"]
        with (self.root / "hosts").open("a") as hosts:
            hosts.write(f"{self.address(rank)} {self.pod(rank)}.{service}\n")

    def start(self, rank: int, **more: str) -> None:
        """Start the container of a pod, with further variables."""
        variables = [f"{name}={value}" for name, value in {**self.variables(rank), **more}.items()]
        with self.log(rank).open("ab") as log:
            self.pods[rank] = subprocess.Popen(
                [
                    *("ip", "netns", "exec", self._space(rank), "unshare", "--mount", "--pid", "--uts"),
                    *("--fork", "--mount-proc", "bash", "-c", _SETUP, "setup"),
                    *("env", "--ignore-environment", *variables, "setpriv", f"--reuid={self.user}"),
                    *(f"--regid={self.user}", "--clear-groups", *self.container["command"]),
                ],
                env={
                    **os.environ,
                    "ROOT": str(self.root),
                    "NAME": self.pod(rank),
                    "PROGRAMS": sys.prefix,
                },
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )

    def variables(self, rank: int) -> dict[str, str]:
        """Return the container's variables as the kubelet resolves them."""
        found = {**self.image, "HOSTNAME": self.pod(rank)}
        labels = {
            **self.stateful_set["spec"]["template"]["metadata"]["labels"],
            "apps.kubernetes.io/pod-index": str(rank),
        }
        fields = {
            "metadata.name": self.pod(rank),
            "metadata.uid": f"uid-{rank}",
            "metadata.namespace": "default",
            "status.podIP": self.address(rank),
            **{f"metadata.labels['{label}']": value for label, value in labels.items()},
        }
        for variable in self.container["env"]:
            if "value" in variable:
                text = re.sub(r"\$\((\w+)\)", lambda match: found[match[1]], variable["value"])
            else:
                text = fields[variable["valueFrom"]["fieldRef"]["fieldPath"]]
            found[variable["name"]] = text
        return found

    def probe(self, rank: int, kind: str) -> bool:
        """Run a probe of the container's in a pod."""
        return self.inside(rank, *self.container[kind]["exec"]["command"])

    def inside(self, rank: int, *command: str) -> bool:
        """Run a command in a pod, and tell whether it succeeded."""
        variables = [f"{name}={value}" for name, value in self.variables(rank).items()]
        process = self._first_process(rank)
        if process is None:
            return False
        enter = ["nsenter", "--target", str(process), "--mount", "--net", "--pid", "--uts"]
        done = subprocess.run([*enter, "env", "-i", *variables, *command], capture_output=True, check=False)
        return done.returncode == 0

    def _first_process(self, rank: int) -> int | None:
        # ip replaces itself by unshare, whose child is the first process of the pod.
        parent = self.pods[rank].pid
        if self.pods[rank].poll() is not None:
            return None
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        return int(children[0]) if children else None

    def terminate(self, rank: int) -> None:
        """Ask a container to end, as the kubelet does."""
        process = self._first_process(rank)
        assert process is not None, f"{self.pod(rank)} has not started"
        os.kill(process, signal.SIGTERM)

    def kill(self, rank: int) -> None:
        """End a container and all that is in it at once."""
        first = self._first_process(rank)
        process = self.pods.pop(rank)
        if first is not None:
            os.kill(first, signal.SIGKILL)
        process.wait(20)

    def unplug(self, rank: int) -> None:
        """Cut a pod from the network; nobody is told."""
        run("ip", "link", "set", self._space(rank), "down")

    def ended(self, rank: int, seconds: float) -> int:
        """Wait until a container has ended by itself, and return its status."""
        return self.pods[rank].wait(seconds)

    def log(self, rank: int) -> Path:
        """Return the file that holds the output of a pod's containers."""
        return self.root / f"{self.pod(rank)}.log"
