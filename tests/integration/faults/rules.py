"""Rules: which fault is done to which request. TEST TOOL.

Invariant: of all rules the first that means a request and is not used up decides, and counts it.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from integration.faults.faults import Fault
from integration.faults.requests import Call


@dataclass
class Rule:
    """One rule.

    Attributes:
        match: which requests it means.
        fault: what is done to them.
        skip: how many of them are let pass first.
        times: how many of them it is done to; None for all.
        seen: how many it has met.
    """

    match: Callable[[Call], bool]
    fault: Fault
    skip: int = 0
    times: int | None = None
    seen: int = 0

    @property
    def done(self) -> int:
        """To how many requests it was done."""
        return max(0, min(self.seen - self.skip, self.seen if self.times is None else self.times))


class Rules:
    """The rules of one proxy; a test changes them while requests come."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._lock = threading.Lock()

    def add(self, rule: Rule) -> Rule:
        """Have a rule decide from now on, after those that are there."""
        with self._lock:
            self._rules.append(rule)
        return rule

    def clear(self) -> None:
        """Let everything pass from now on. What a rule holds or stalls stays so."""
        with self._lock:
            self._rules.clear()

    def take(self, call: Call) -> Fault | None:
        """Return what is to be done to a request, and count it."""
        with self._lock:
            for rule in self._rules:
                if not rule.match(call):
                    continue
                rule.seen += 1
                past = rule.seen - rule.skip
                if past > 0 and (rule.times is None or past <= rule.times):
                    return rule.fault
        return None
