"""What is asked of the hub: which files a revision has, and the files. Every refusal says what to do next."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from disagg_worker.download.errors import DownloadError, Reason
from disagg_worker.download.place import disk_fault

_FIELD = "spec.model.source.huggingFace"
_LIST_SECONDS = 30.0
_UNAUTHORIZED, _FORBIDDEN, _TOO_MANY = 401, 403, 429


@dataclass(frozen=True)
class Asked:
    """The model that is asked for.

    Attributes:
        repository: Its repository on the hub.
        revision: Branch, tag or commit; None for the default branch.
        token: Access token; None for none. It is never logged.
        endpoint: The hub; None for that of the library and its HF_ENDPOINT.
    """

    repository: str
    revision: str | None = None
    token: str | None = None
    endpoint: str | None = None

    @property
    def named(self) -> str:
        """The model and its revision, for people."""
        return f"{self.repository} ({self.revision})" if self.revision else self.repository

    @property
    def hub(self) -> str:
        """URL of the hub."""
        return (self.endpoint or constants.ENDPOINT).rstrip("/")


@dataclass(frozen=True)
class Listing:
    """What a revision holds.

    Attributes:
        commit: The commit that it is now.
        sizes: Bytes of each file, by path.
    """

    commit: str
    sizes: Mapping[str, int]


def listing(asked: Asked) -> Listing:
    """Ask what files there are.

    Raises:
        DownloadError: The hub does not say.
    """
    # False: no token but the one that was given, whatever a home directory holds.
    api = HfApi(endpoint=asked.hub, token=asked.token or False)
    try:
        info = api.model_info(
            asked.repository, revision=asked.revision, files_metadata=True, timeout=_LIST_SECONDS
        )
    except Exception as error:
        raise explained(error, asked, Path()) from error
    if info.sha is None:
        raise DownloadError(
            Reason.HUB_UNREACHABLE, f"{asked.hub} does not say which commit {asked.named} is."
        )
    return Listing(info.sha, {file.rfilename: file.size or 0 for file in info.siblings or ()})


def fetch(asked: Asked, commit: str, files: Sequence[str], folder: Path) -> None:
    """Fetch files of a commit into a directory; those that have arrived before are not fetched again.

    Raises:
        DownloadError: They did not all arrive.
    """
    try:
        snapshot_download(
            asked.repository,
            revision=commit,
            local_dir=folder,
            allow_patterns=[glob.escape(file) for file in files],
            token=asked.token or False,
            endpoint=asked.hub,
        )
    except Exception as error:
        raise explained(error, asked, folder) from error


def explained(error: Exception, asked: Asked, folder: Path) -> DownloadError:
    """Return what an error of the library means, and what to do next.

    Args:
        error: What it raised.
        asked: The model that was asked for.
        folder: Where its files go.
    """
    known = next((found for each in _causes(error) if (found := _known(each, asked, folder))), None)
    if known is not None:
        return known
    says = f"{asked.named} could not be fetched from {asked.hub}: {_told(error)} It is tried again."
    return DownloadError(Reason.DOWNLOAD_FAILED, says)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an error and what caused it, the first cause first: the library wraps errors in others."""
    found = [error]
    while (cause := found[0].__cause__ or found[0].__context__) is not None and cause not in found:
        found.insert(0, cause)
    # The most telling one may be in the middle: the cause of an HTTP fault is a plainer HTTP error.
    return sorted(found, key=lambda each: not isinstance(each, HfHubHTTPError))


def _known(error: BaseException, asked: Asked, folder: Path) -> DownloadError | None:
    if isinstance(error, HfHubHTTPError):
        return _answer(error, asked)
    if isinstance(error, httpx2.ProxyError):
        says = f"The proxy refuses the way to {asked.hub}: {_told(error)} Check HTTPS_PROXY in spec.env."
        return DownloadError(Reason.HUB_UNREACHABLE, says)
    if isinstance(error, httpx2.TransportError | TimeoutError | ConnectionError):
        says = (
            f"{asked.hub} cannot be reached: {_told(error)} Check the cluster's way out, HTTPS_PROXY and "
            f"NO_PROXY in spec.env, or name a mirror in {_FIELD}.endpoint. It is tried again."
        )
        return DownloadError(Reason.HUB_UNREACHABLE, says)
    return disk_fault(error, folder)


def _answer(error: HfHubHTTPError, asked: Asked) -> DownloadError:
    page = f"{asked.hub}/{asked.repository}"
    code = error.response.status_code
    if isinstance(error, GatedRepoError):
        step = (
            f"Let the account of the token in {_FIELD}.tokenSecretRef be given access at {page}"
            if asked.token
            else f"Accept its terms at {page}, and name a Secret with a token in {_FIELD}.tokenSecretRef"
        )
        return DownloadError(Reason.MODEL_GATED, f"{asked.repository} is gated. {step}.")
    if isinstance(error, RevisionNotFoundError):
        says = f"{asked.repository} has no revision {asked.revision}. Correct {_FIELD}.revision: see {page}"
        return DownloadError(Reason.REVISION_NOT_FOUND, says)
    if isinstance(error, DisabledRepoError):
        return DownloadError(Reason.MODEL_NOT_FOUND, f"{asked.repository} was taken off the hub: see {page}")
    if isinstance(error, RepositoryNotFoundError):
        private = (
            "or give the token's account access to it"
            if asked.token
            else f"or, if it is private, name a Secret with a token in {_FIELD}.tokenSecretRef"
        )
        says = f"{asked.hub} shows no repository {asked.repository}. Correct {_FIELD}.repository, {private}."
        return DownloadError(Reason.MODEL_NOT_FOUND, says)
    if code in (_UNAUTHORIZED, _FORBIDDEN):
        says = (
            f"{asked.hub} refuses the token (HTTP {code}). Put one that is valid and may read "
            f"{asked.repository} into the Secret that {_FIELD}.tokenSecretRef names."
            if asked.token
            else f"{asked.hub} wants a token (HTTP {code}). Name its Secret in {_FIELD}.tokenSecretRef."
        )
        return DownloadError(Reason.TOKEN_REFUSED, says)
    busy = "asks for a pause" if code == _TOO_MANY else "does not answer as a hub does"
    says = f"{asked.hub} {busy} (HTTP {code}). It is tried again; if that lasts, check {_FIELD}.endpoint."
    return DownloadError(Reason.HUB_UNREACHABLE, says)


def _told(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{(lines[0] if lines else type(error).__name__).rstrip('.')}."
