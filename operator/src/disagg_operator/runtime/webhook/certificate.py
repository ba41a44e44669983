"""The server's certificate, read again when it was renewed: the kubelet swaps the files of a Secret.

Invariants: a new connection gets the newest certificate that could be read whole, one under way keeps its
own; a certificate that ends soon is warned of once a day, long before the API server refuses it.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
SOON = timedelta(days=30)
_EVERY = timedelta(days=1)


class Certificate:
    """A certificate with its key, in the files ``tls.crt`` and ``tls.key`` of a folder."""

    def __init__(self, folder: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Read the certificate.

        Args:
            folder: where its files are.
            now: the time.

        Raises:
            OSError: a file cannot be read, or holds no certificate or key.
        """
        self._files = (folder / "tls.crt", folder / "tls.key")
        self._now = now
        self._warned: datetime | None = None
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._content()
        self._load()
        self.ends = _end(self._seen[0])
        self._warn()

    async def follow(self) -> None:
        """Take up renewed files until cancelled. Connections under way keep the old certificate."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """Take the files up if they changed; half-written ones are left for the next look."""
        try:
            content = self._content()
            if content != self._seen:
                self._load()
                self._seen, self.ends, self._warned = content, _end(content[0]), None
                logger.info("took up a renewed certificate, which ends %s", self.ends.isoformat())
        except OSError as error:
            logger.warning("cannot take up a renewed certificate yet: %s", error)
        self._warn()

    def _warn(self) -> None:
        now = self._now()
        if self.ends - now > SOON or (self._warned is not None and now - self._warned < _EVERY):
            return
        self._warned = now
        verb = "ended" if self.ends <= now else "ends"
        logger.warning(
            "the certificate %s %s; the API server then calls the webhook no more. Upgrade the chart's "
            "release, which renews it, or see to whoever issues it",
            verb,
            self.ends.isoformat(),
        )

    def _load(self) -> None:
        certificate, key = self._files
        self.context.load_cert_chain(certificate, key)

    def _content(self) -> tuple[bytes, ...]:
        return tuple(file.read_bytes() for file in self._files)


def _end(certificate: bytes) -> datetime:
    """Return the end of the first certificate of a file, which is the server's."""
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc
