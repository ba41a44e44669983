"""The entry point of the webhook process: ``disagg-webhook``.

Exit codes: 0 stopped as asked for; 2 the settings make no sense, or the certificate cannot be read.
"""

import asyncio
import sys
from pathlib import Path

from disagg_operator.plan.installation import Installation
from disagg_operator.runtime import logs
from disagg_operator.runtime.nesting import allow_deep_objects
from disagg_operator.runtime.settings import Settings, SettingsError, from_environment
from disagg_operator.runtime.signals import handle_signals
from disagg_operator.runtime.webhook.certificate import Certificate
from disagg_operator.runtime.webhook.server import Webhook

_STOPPED, _USAGE = 0, 2


def main() -> None:
    """Answer reviews until told to stop."""
    try:
        settings = from_environment()
        installation = settings.installation()
    except SettingsError as error:
        sys.exit(_complain(str(error)))
    logs.configure(settings.log_level, settings.log_format)
    allow_deep_objects()
    sys.exit(asyncio.run(_run(settings, installation)))


async def _run(settings: Settings, installation: Installation) -> int:
    stop = asyncio.Event()
    handle_signals(stop)
    folder = Path(settings.certificate_folder)
    try:
        certificate = Certificate(folder)
    except OSError as error:
        return _complain(f"no usable certificate in {folder}: {error}")
    webhook = Webhook(installation)
    try:
        server = await webhook.serve(settings.http_host, settings.http_port, certificate)
    except OSError as error:
        return _complain(f"cannot listen on {settings.http_host}:{settings.http_port}: {error.strerror}")
    following = asyncio.create_task(certificate.follow())
    await stop.wait()
    following.cancel()
    await server.cleanup()
    return _STOPPED


def _complain(message: str) -> int:
    sys.stderr.write(f"disagg-webhook: {message}\n")
    return _USAGE
