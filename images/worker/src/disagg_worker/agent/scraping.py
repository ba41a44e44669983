"""Prometheus metrics of a neighbour in the pod: fetched once, bounded in time and size."""

import http.client
import math
from collections.abc import Iterator
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

TIMEOUT_SECONDS = 2.0
LARGEST = 4 << 20


class ScrapeError(Exception):
    """The metrics could not be had; the text says why."""


def scrape(url: str) -> list[Sample]:
    """Fetch and parse the metrics at a URL; samples that are no count (NaN, infinite, negative) are left out.

    Args:
        url: Such as http://127.0.0.1:9091/metrics; http only.

    Raises:
        ScrapeError: Nobody answers in time, or the answer is not what it should be.
    """
    try:
        return list(_samples(_fetch(url)))
    except (OSError, http.client.HTTPException, ValueError, KeyError, IndexError) as error:
        raise ScrapeError(f"{url}: {error or type(error).__name__}") from None


def _fetch(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError("is no http:// address")
    connection = http.client.HTTPConnection(parts.hostname, parts.port or 80, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", parts.path or "/metrics")
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise ValueError(f"answers with status {answer.status}")
        body = answer.read(LARGEST + 1)
    finally:
        connection.close()
    if len(body) > LARGEST:
        raise ValueError(f"answers with more than {LARGEST} bytes")
    return body.decode(errors="replace")


def _samples(text: str) -> Iterator[Sample]:
    for family in text_string_to_metric_families(text):
        yield from (sample for sample in family.samples if 0 <= sample.value < math.inf)
