"""Lays the profiles that an installation adds over those that are there.

Invariant: an added document that cannot be laid is refused with its file, the field and the remedy.
"""

from collections.abc import Mapping

from disagg_operator.api.merge import merged
from disagg_operator.platforms.documents import LIKE, bases_of, resolved
from disagg_operator.platforms.faults import ProfileError
from disagg_operator.platforms.overlay import vain_removals
from disagg_operator.platforms.profile import Document

NOT_THERE = "there is no such entry to remove in what the profile is like"
LEAVE_IT = "Leave it out; what a fabric adds is removed in a fabric of your own that is like it"


def extended_by(
    added: Mapping[str, Document], folder: str, known: Mapping[str, Document], default: list[str]
) -> dict[str, Document]:
    """Return the known documents and the added ones. One of a known name is laid over the known one.

    Args:
        added: documents by the name of their file.
        folder: folder of their files.
        known: documents that are there, by name.
        default: what an added document is like that does not say it.

    Raises:
        ProfileError: a document has another name than its file, is like something that is no name, or removes
            what is not there.
    """
    documents = dict(known)
    for name, document in added.items():
        if document.get("name", name) != name:
            raise ProfileError(
                f"{folder}/{name}.yaml: name: is {document['name']!r}. Write {name}, or rename the file"
            )
        written = bases_of(document)
        if written is None:
            raise ProfileError(f"{folder}/{name}.yaml: like: is no name. Write a name, or a list of names")
        own = {key: value for key, value in document.items() if key != LIKE}
        if name in known and written in ([], [name]):
            documents[name] = merged(resolved(name, known), own)
        else:
            documents[name] = {**own, "name": name, LIKE: written or default}
    _refuse_vain_removals(added, folder, known, documents, default)
    return documents


def _refuse_vain_removals(
    added: Mapping[str, Document],
    folder: str,
    known: Mapping[str, Document],
    documents: Mapping[str, Document],
    default: list[str],
) -> None:
    for name, document in added.items():
        others = bases_of(document) or default
        bases = [name] if name in known and others in (default, [name]) else others
        laid = {**documents, **({name: known[name]} if name in known else {}), "": {LIKE: bases}}
        try:
            base = resolved("", laid)
        except ValueError:
            continue  # The profile itself is refused for it.
        for key, entry in vain_removals(document, base):
            raise ProfileError(f"{folder}/{name}.yaml: {key}[{entry}]: {NOT_THERE}. {LEAVE_IT}")
