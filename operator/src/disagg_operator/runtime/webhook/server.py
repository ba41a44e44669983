"""The HTTPS server of the webhook: /validate for the API server, /healthz for the kubelet, and /metrics."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from disagg_operator.plan.installation import Installation
from disagg_operator.runtime.webhook.certificate import Certificate
from disagg_operator.runtime.webhook.review import answer

Handler = Callable[[web.Request], Awaitable[web.Response]]

logger = logging.getLogger(__name__)

_LONGEST_NAME = 340
"""Characters of an operation and the longest names of namespace and object."""
_LARGEST_REVIEW = 8 * 1024**2
"""Bytes: etcd takes objects of 1.5 MiB, and a review holds the old and the new one."""


class Webhook:
    """Answers reviews.

    Attributes:
        installation: settings of the operator's installation.
    """

    def __init__(self, installation: Installation) -> None:
        """Make a webhook for one installation of the operator."""
        self.installation = installation

    async def validate(self, request: web.Request) -> web.Response:
        """Judge the DisaggDeployment of an AdmissionReview."""
        try:
            review = await request.json()
            asked, _ = review["request"], review["request"]["uid"]
        except (ValueError, KeyError, TypeError, RecursionError):
            raise web.HTTPBadRequest(text="no AdmissionReview of admission.k8s.io/v1") from None
        judged = answer(review, self.installation)
        _log(asked, judged["response"])
        return web.json_response(judged)

    async def healthz(self, _: web.Request) -> web.Response:
        """Answer that the server is there."""
        return web.Response(text="ok")

    async def serve(self, host: str, port: int, certificate: Certificate) -> web.AppRunner:
        """Start the server; clean the returned runner up in the end.

        Args:
            host: address to listen on.
            port: port to listen on.
            certificate: the server's.

        Raises:
            OSError: the address is taken or may not be used.
        """
        app = web.Application(client_max_size=_LARGEST_REVIEW)
        app.router.add_post("/validate", self.validate)
        app.router.add_get("/healthz", self.healthz)
        app.router.add_get("/metrics", _metrics(certificate))
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, host, port, ssl_context=certificate.context).start()
        return runner


def certificate_metrics(certificate: Certificate) -> CollectorRegistry:
    """Return the metrics of the webhook, which are about its certificate."""
    registry = CollectorRegistry()
    ends = Gauge(
        "disagg_webhook_certificate_not_after_timestamp_seconds",
        "End of the certificate that the webhook shows, in seconds since 1970.",
        registry=registry,
    )

    def end() -> float:
        return certificate.ends.timestamp()

    ends.set_function(end)
    return registry


def _metrics(certificate: Certificate) -> Handler:
    registry = certificate_metrics(certificate)

    async def answer_metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": "text/plain"})

    return answer_metrics


def _log(request: Mapping[str, Any], response: Mapping[str, Any]) -> None:
    told = "/".join(str(request.get(key, "")) for key in ("operation", "namespace", "name"))
    # Anybody who reaches the port may ask, so that what they say may not make log lines of its own.
    logger.info("%r: %s", told[:_LONGEST_NAME], "allowed" if response["allowed"] else "refused")
