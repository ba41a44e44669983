"""What to write in place of a name that a version does not know: nothing, or a name that is near."""

from collections.abc import Iterable
from difflib import get_close_matches

from disagg_operator.platforms.flags import ArgumentTable


def instead(
    program: str, table: ArgumentTable, name: str, known: Iterable[str], likeness: float = 0.6
) -> str:
    """Return the remedy for a name that a version does not know.

    Args:
        program: whose versions the table has.
        table: what each of them knows.
        name: the name.
        known: names that may have been meant.
        likeness: how much of a name must be the same, from 0 to 1.
    """
    elsewhere = table.versions_with(name)
    if elsewhere:
        first, last = elsewhere[0], elsewhere[-1]
        who = f"{first} knows" if first == last else f"{first} to {last} know"
        return f"Leave it out: {program} {who} it"
    meant = get_close_matches(name, sorted(known), cutoff=likeness)
    return f"Write {' or '.join(meant)}, if that is meant" if meant else "Leave it out"
