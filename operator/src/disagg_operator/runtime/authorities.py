"""aiohttp, loaded without the certificates of the machine's authorities.

aiohttp reads all of them twice as it is loaded, 2 MB, for connections that bring no TLS settings. Of the
operator none are such: those to the API server bring theirs, and pods are asked over HTTP.

Invariant: this is imported before anything else imports `aiohttp` in the operator's process.
"""

import os

_FILE = "SSL_CERT_FILE"
"""OpenSSL's name of the variable that tells where the certificates are."""

_told = os.environ.get(_FILE)
os.environ[_FILE] = os.devnull
try:
    import aiohttp  # noqa: F401 - for what it reads now
finally:
    del os.environ[_FILE]
    if _told is not None:
        os.environ[_FILE] = _told
