"""The entry point of the operator process: ``disagg-operator``.

Exit codes: 0 stopped as asked for; 1 the Lease was lost or something unexpected happened (start it again);
2 the settings make no sense (starting it again helps nothing).
"""

import asyncio
import logging
import sys

import disagg_operator.runtime.authorities  # noqa: F401 - before aiohttp is loaded
from disagg_operator.plan.installation import Installation
from disagg_operator.runtime import logs, memory
from disagg_operator.runtime.health import Health, serve
from disagg_operator.runtime.kube import load_configuration
from disagg_operator.runtime.leader import LeaseLostError
from disagg_operator.runtime.metrics import Metrics
from disagg_operator.runtime.nesting import allow_deep_objects
from disagg_operator.runtime.official import ConfigException
from disagg_operator.runtime.operator import Operator
from disagg_operator.runtime.settings import Settings, SettingsError, from_environment
from disagg_operator.runtime.signals import handle_signals

logger = logging.getLogger(__name__)

_STOPPED, _FAILED, _USAGE = 0, 1, 2


def main() -> None:
    """Run the operator until it is told to stop."""
    try:
        settings = from_environment()
        installation = settings.installation()
    except SettingsError as error:
        _complain(str(error))
        sys.exit(_USAGE)
    logs.configure(settings.log_level, settings.log_format)
    allow_deep_objects()
    memory.begin()
    sys.exit(asyncio.run(_run(settings, installation)))


async def _run(settings: Settings, installation: Installation) -> int:
    stop = asyncio.Event()
    handle_signals(stop)
    metrics = Metrics()
    health = Health(metrics)
    beat = asyncio.create_task(health.beat())
    try:
        server = await serve(health, settings.http_host, settings.http_port)
    except OSError as error:
        _complain(f"cannot listen on {settings.http_host}:{settings.http_port}: {error.strerror}")
        return _USAGE
    try:
        configuration = await load_configuration()
        await Operator(settings, installation, configuration, metrics, health).run(stop)
    except ConfigException as error:
        _complain(f"no way to the API server: {error}. Run it in a pod, or set KUBECONFIG")
        return _USAGE
    except LeaseLostError as error:
        logger.error("ending: %s", error)  # noqa: TRY400 - a traceback says nothing here
        return _FAILED
    except Exception:
        logger.exception("ending unexpectedly")
        return _FAILED
    finally:
        beat.cancel()
        await server.cleanup()
    logger.info("stopped")
    return _STOPPED


def _complain(message: str) -> None:
    sys.stderr.write(f"disagg-operator: {message}\n")
