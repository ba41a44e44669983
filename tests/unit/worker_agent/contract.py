"""The contract between agent and operator: neither imports the other, so this is where they meet."""

from typing import Any

from disagg_operator.verify.evidence import Evidence


def understood(document: Any) -> Any:
    """Return what the operator makes of an agent's document, as a document again.

    It equals the document if every field of one is a field of the other, with a value that both take.
    """
    return Evidence.model_validate(document).model_dump(mode="json", by_alias=True)
