"""Two network namespaces with a router between them that can stop forwarding, as a cut network does.

Packets vanish without a word: no address is unreachable, no link is down. Needs iproute2 and util-linux.
"""

import os
import subprocess
from contextlib import suppress
from signal import SIGKILL

_SCRIPT = """
set -e
pod() {
  ip link add "r$1" type veth peer name eth0 netns "$2"
  ip addr add "10.9.$1.1/24" dev "r$1"
  ip link set "r$1" up
  nsenter -t "$2" -n ip addr add "10.9.$1.2/24" dev eth0
  nsenter -t "$2" -n sh -c "echo $RETRIES >/proc/sys/net/ipv4/tcp_retries2"
  nsenter -t "$2" -n ip link set lo up
  nsenter -t "$2" -n ip link set eth0 up
  nsenter -t "$2" -n ip route add default via "10.9.$1.1"
}
unshare -n sleep infinity & one=$!
unshare -n sleep infinity & two=$!
for each in "$one" "$two"; do
  while [ "$(readlink /proc/$each/ns/net)" = "$(readlink /proc/$$/ns/net)" ]; do sleep 0.05; done
done
pod 1 "$one"
pod 2 "$two"
echo 1 >/proc/sys/net/ipv4/ip_forward
echo "$one $two"
while read -r forward; do
  echo "$forward" >/proc/sys/net/ipv4/ip_forward
  echo done
done
"""


class RoutedPods:
    """The two namespaces; `prefixes` are commands that start a program in one of them.

    Args:
        tcp_retries: How often TCP sends again before a connection breaks: 15 (Linux's default) takes a
            quarter of an hour, 8 takes 102 s.
    """

    def __init__(self, tcp_retries: int = 15) -> None:
        self._router = subprocess.Popen(
            ["unshare", "-rn", "sh", "-c", _SCRIPT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "RETRIES": str(tcp_retries)},
        )
        assert self._router.stdout
        self._holders = [int(pid) for pid in self._router.stdout.readline().split()]
        assert len(self._holders) == 2, "no network namespaces can be made here"
        enter = ("nsenter", "-U", "--preserve-credentials", "-n", "-t")
        self.prefixes = [(*enter, str(pid)) for pid in self._holders]

    def cut(self) -> None:
        """Let no packet through."""
        self._forward("0")

    def heal(self) -> None:
        """Let all packets through."""
        self._forward("1")

    def _forward(self, value: str) -> None:
        assert self._router.stdin
        assert self._router.stdout
        self._router.stdin.write(f"{value}\n")
        self._router.stdin.flush()
        assert self._router.stdout.readline() == "done\n"

    def close(self) -> None:
        """End everything."""
        for pid in self._holders:
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
        self._router.kill()
        self._router.wait()
        for pipe in (self._router.stdin, self._router.stdout):
            if pipe:
                pipe.close()
