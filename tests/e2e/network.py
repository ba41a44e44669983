"""The network between two pods of the embedded cluster, cut by the packet filter of this machine."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass


def _iptables(*arguments: str) -> str:
    done = subprocess.run(["iptables", "-w", *arguments], check=True, capture_output=True, text=True)
    return done.stdout


@dataclass(frozen=True)
class Cut:
    """A cut between two addresses."""

    one: str
    other: str

    def dropped(self) -> int:
        """Return how many packets were dropped."""
        rows = re.findall(rf"^\s*(\d+) .*DROP.* {self.one} +{self.other}\s", _rules(), re.MULTILINE)
        rows += re.findall(rf"^\s*(\d+) .*DROP.* {self.other} +{self.one}\s", _rules(), re.MULTILINE)
        return sum(map(int, rows))


def _rules() -> str:
    return _iptables("-nvxL", "FORWARD")


@contextmanager
def cut_between(one: str, other: str) -> Iterator[Cut]:
    """Drop what two pods send each other, without a word to either.

    Args:
        one: address of a pod.
        other: address of the other pod.
    """
    with ExitStack() as ending:
        for source, target in ((one, other), (other, one)):
            rule = ("FORWARD", "--source", source, "--destination", target, "--jump", "DROP")
            _iptables("-I", *rule)
            ending.callback(_iptables, "-D", *rule)
        yield Cut(one, other)
