"""The last columns of tables that explain: why a value is there, and who says so."""

from disagg_operator.plan.explanation import Explained
from disagg_operator.platforms.listing import Listed

HEADINGS = ("Why", "Profile line, document")


def cells(value: Explained | Listed) -> tuple[str, str]:
    """Return the cells of a value, in the order of HEADINGS."""
    return value.reason, "\n".join(part for part in (value.line, value.source) if part)
