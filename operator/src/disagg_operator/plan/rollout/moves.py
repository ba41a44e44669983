"""The moves of a rollout: one model instance more of the new revision, or one less of an old one.

A revision serves only with both roles, so its first instances of both come together, and its last ones go
together. As long as a move keeps all rules, it is made:

- **room**: no more instances of a role than wanted and surge, those that are ending among them;
- **floor**: no old instance goes that is needed for what has to be available;
- **ratio**: prefill and decode of each revision, and of all together, stay within one instance of the wanted
  ratio, or come nearer to it.

Where the rules leave no move and nothing is on its way, they give way so that no rollout stalls: first an old
instance that is not ready no longer counts as one that may come back, then the ratio.

Invariants: the new revision only grows and the old ones only shrink, so that every sequence of moves ends.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from disagg_operator.plan.model import Limits

Pair = tuple[int, int]
"""Model instances of prefill and of decode."""

NONE: Pair = (0, 0)
_STEPS: tuple[Pair, ...] = ((1, 0), (0, 1), (1, 1))


@dataclass(frozen=True)
class Fleet:
    """The instances of one revision.

    Attributes:
        asked: those that it is to have.
        settled: those that have been ready for so long that every frontend knows them.
        lingering: those beyond, which are ending.
    """

    asked: Pair = NONE
    settled: Pair = NONE
    lingering: Pair = NONE

    @property
    def usable(self) -> Pair:
        """Instances that can serve: none as long as a role has none."""
        return self.settled if all(self.settled) else NONE

    def shrunk(self, by: Pair) -> "Fleet":
        """Return it with fewer instances; those that are ready are taken to go first."""
        settled = (max(0, self.settled[0] - by[0]), max(0, self.settled[1] - by[1]))
        return replace(self, asked=_minus(self.asked, by), settled=settled)


@dataclass(frozen=True)
class Rules:
    """What moves keep to.

    Attributes:
        wanted: instances that the specification asks for.
        limits: how far they may be exceeded and fallen short of, for prefill and for decode.
        strict: whether old instances that are not ready are waited for.
        skew: how many instances of one role may be out of the ratio, or None for any number.
    """

    wanted: Pair
    limits: tuple[Limits, Limits]
    strict: bool = True
    skew: int | None = 1

    @property
    def room(self) -> Pair:
        """Most instances of all revisions together."""
        return self.wanted[0] + self.limits[0].surge, self.wanted[1] + self.limits[1].surge

    @property
    def floor(self) -> Pair:
        """Least instances that have to be available."""
        return (
            max(0, self.wanted[0] - self.limits[0].unavailable),
            max(0, self.wanted[1] - self.limits[1].unavailable),
        )

    @property
    def side_by_side(self) -> bool:
        """Whether two revisions can serve at the same time: there is room for an instance of each."""
        return all(self.wanted) and min(self.room) > 1

    def distance(self, pair: Pair) -> int:
        """Return how far instances are from the wanted ratio; one instance is `max(wanted)` or less."""
        return abs(pair[0] * self.wanted[1] - pair[1] * self.wanted[0])

    def keeps_ratio(self, before: Pair, after: Pair) -> bool:
        """Tell whether a change of instances may be made as far as the ratio is concerned."""
        if self.skew is None:
            return True
        return self.distance(after) <= max(self.skew * max(self.wanted), self.distance(before))


def grown(rules: Rules, new: Fleet, old: Sequence[Fleet], most: Pair) -> Pair:
    """Return the instances that the new revision is to have now.

    Args:
        rules: what is kept to.
        new: the new revision.
        old: the others.
        most: what it may have at most.
    """
    others = total(each.asked for each in old)
    room = _minus(rules.room, total([others, *(each.lingering for each in (new, *old))]))
    asked = new.asked
    while moves := [
        after
        for step in _growth(rules, asked, most)
        if _within(after := _plus(asked, step), room)
        and rules.keeps_ratio(asked, after)
        and rules.keeps_ratio(_plus(others, asked), _plus(others, after))
    ]:
        asked = min(moves, key=lambda after: rules.distance(after) + rules.distance(_plus(others, after)))
    return asked


def shrunk(rules: Rules, new: Fleet, old: Sequence[Fleet]) -> list[Pair]:
    """Return the instances that each old revision is to have now. The first ones shrink first.

    Args:
        rules: what is kept to.
        new: the new revision.
        old: the others.
    """
    left = list(old)
    for number in range(len(left)):
        while moves := list(_shrinking(rules, new, left, number)):
            left = min(moves, key=lambda after: _imbalance(rules, new, after, number))
    return [each.asked for each in left]


def total(pairs: Iterable[Pair]) -> Pair:
    """Return the sum of pairs."""
    prefill, decode = 0, 0
    for pair in pairs:
        prefill, decode = prefill + pair[0], decode + pair[1]
    return prefill, decode


def _growth(rules: Rules, asked: Pair, most: Pair) -> Iterator[Pair]:
    if 0 in asked and all(most) and rules.side_by_side:
        # The first instances of both roles, and of one role more where the ratio needs them.
        lacking = int(asked[0] == 0), int(asked[1] == 0)
        steps = [_plus(lacking, more) for count in range(max(most)) for more in ((count, 0), (0, count))]
    else:
        steps = list(_STEPS)
    yield from (step for step in dict.fromkeys(steps) if _within(_plus(asked, step), most))


def _shrinking(rules: Rules, new: Fleet, left: list[Fleet], number: int) -> Iterator[list[Fleet]]:
    asked = left[number].asked
    for step in dict.fromkeys(_whole(asked, step) for step in _STEPS if _within(step, asked)):
        after = [*left[:number], left[number].shrunk(step), *left[number + 1 :]]
        if _may_shrink(rules, new, left, after, number):
            yield after


def _whole(asked: Pair, step: Pair) -> Pair:
    """Return the step, or all that is left where a role would be left alone."""
    return asked if 0 in _minus(asked, step) else step


def _may_shrink(
    rules: Rules, new: Fleet, before: Sequence[Fleet], after: Sequence[Fleet], number: int
) -> bool:
    promised = [total([new.usable, *(each.asked for each in fleets)]) for fleets in (before, after)]
    ready = [total([new.usable, *(each.usable for each in fleets)]) for fleets in (before, after)]
    started = [total([new.asked, *(each.asked for each in fleets)]) for fleets in (before, after)]
    kept = (before[number].asked, after[number].asked)
    return (
        _holds(rules.floor, *promised)
        and (not rules.strict or _holds(rules.floor, *ready))
        and (kept[1] == NONE or rules.keeps_ratio(*kept))
        and rules.keeps_ratio(*promised)
        and rules.keeps_ratio(*started)
    )


def _holds(floor: Pair, before: Pair, after: Pair) -> bool:
    """Tell whether no count falls below the floor, or below where it is already."""
    return all(now >= was or now >= least for was, now, least in zip(before, after, floor, strict=True))


def _imbalance(rules: Rules, new: Fleet, left: Sequence[Fleet], number: int) -> int:
    everything = total([new.usable, *(each.asked for each in left)])
    return rules.distance(everything) + rules.distance(left[number].asked)


def _plus(one: Pair, other: Pair) -> Pair:
    return one[0] + other[0], one[1] + other[1]


def _minus(one: Pair, other: Pair) -> Pair:
    return one[0] - other[0], one[1] - other[1]


def _within(pair: Pair, most: Pair) -> bool:
    return pair[0] <= most[0] and pair[1] <= most[1]
