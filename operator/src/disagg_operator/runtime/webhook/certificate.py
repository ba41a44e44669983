"""The server's certificate, read again when it was renewed: the kubelet swaps the files of a Secret."""

import asyncio
import logging
import ssl
from pathlib import Path

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 30.0


class Certificate:
    """A certificate with its key, in the files ``tls.crt`` and ``tls.key`` of a folder."""

    def __init__(self, folder: Path) -> None:
        """Read the certificate.

        Raises:
            OSError: a file cannot be read, or holds no certificate or key.
        """
        self._files = (folder / "tls.crt", folder / "tls.key")
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._seen = self._content()
        self._load()

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
                self._seen = content
                logger.info("took up a renewed certificate")
        except OSError as error:
            logger.warning("cannot take up a renewed certificate yet: %s", error)

    def _load(self) -> None:
        certificate, key = self._files
        self.context.load_cert_chain(certificate, key)

    def _content(self) -> tuple[bytes, ...]:
        return tuple(file.read_bytes() for file in self._files)
