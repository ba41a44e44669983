"""SIMULATED: the operator of a later version, whose profile of every release sets a further variable."""

from disagg_operator.platforms import catalogue
from disagg_operator.platforms.profile import Document

FURTHER = {"name": "DYN_SYSTEM_NEWER", "value": "1", "reason": "A test.", "source": "a test"}
_known = catalogue._documents


def _newer(folder: str) -> dict[str, Document]:
    documents = _known(folder)
    if folder == catalogue.RUNTIMES:
        for document in documents.values():
            if "version" in document:
                document["environment"] = [*document.get("environment", []), FURTHER]
    return documents


if __name__ == "__main__":
    catalogue._documents = _newer
    from disagg_operator.runtime.main import main

    main()
