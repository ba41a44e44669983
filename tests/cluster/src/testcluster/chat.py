"""Talking to a served model: a forwarded port, and a chat answer that streams."""

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from testcluster.errors import ClusterError
from testcluster.kubectl import Kubectl

LISTED_SECONDS = 60.0
ANSWER_SECONDS = 120.0


@contextmanager
def forwarded(kubectl: Kubectl, namespace: str, target: str, port: int) -> Iterator[str]:
    """Forward a free loopback port to a Service or pod for a while.

    Args:
        kubectl: The cluster.
        namespace: Namespace of the target.
        target: Such as `service/name`.
        port: Port of the target.

    Yields:
        The URL under which the target answers.

    Raises:
        ClusterError: If the port cannot be forwarded.
    """
    argv = kubectl.argv("port-forward", "-n", namespace, target, f":{port}", "--address=127.0.0.1")
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"Forwarding from 127\.0\.0\.1:(\d+)", line)
            if found is None:
                raise ClusterError(
                    f"cannot forward a port to {target}: {line.strip() or 'kubectl said nothing'}"
                )
            yield f"http://127.0.0.1:{found[1]}"
        finally:
            process.terminate()


def wait_until_listed(url: str, model: str) -> None:
    """Wait until the frontend lists a model, which it does once a worker has announced it.

    Raises:
        ClusterError: If it does not within a minute.
    """

    def listed() -> bool:
        try:
            answer = httpx.get(f"{url}/v1/models", timeout=5, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.is_success and model in answer.text

    retrying = Retrying(
        wait=wait_fixed(0.5),
        stop=stop_after_delay(LISTED_SECONDS),
        retry=retry_if_result(lambda done: not done),
    )
    try:
        retrying(listed)
    except RetryError:
        raise ClusterError(f"the frontend did not list {model} within {LISTED_SECONDS:.0f} s") from None


def chat_request(model: str, prompt: str, *, max_tokens: int) -> dict[str, Any]:
    """The body of a request for a streamed chat answer with greedy sampling, and its token counts."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": prompt}],
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def stream_chat(url: str, model: str, prompt: str, *, max_tokens: int) -> Iterator[str]:
    """Ask a question and yield the answer piece by piece, as the server sends it.

    Raises:
        ClusterError: If the server refuses, breaks off or does not answer.
    """
    request = chat_request(model, prompt, max_tokens=max_tokens)
    try:
        with (
            httpx.Client(timeout=ANSWER_SECONDS, trust_env=False) as client,
            client.stream("POST", f"{url}/v1/chat/completions", json=request) as answer,
        ):
            if not answer.is_success:
                raise ClusterError(
                    f"the frontend answered {answer.status_code}: {answer.read().decode()[:300]}"
                )
            for event in events_of(answer.iter_lines()):
                yield from pieces_of(event)
    except httpx.HTTPError as error:
        raise ClusterError(f"the chat request failed: {error!r}") from error


def events_of(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The events of a server-sent event stream: an answer's pieces and counts.

    Raises:
        ClusterError: If one of them reports an error.
    """
    for line in lines:
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or data == "[DONE]":
            continue
        event: dict[str, Any] = json.loads(data)
        if "error" in event:
            raise ClusterError(f"the frontend reported: {event['error']}")
        yield event


def pieces_of(event: Mapping[str, Any]) -> list[str]:
    """The text in one event of a chat answer."""
    contents = [choice.get("delta", {}).get("content") for choice in event.get("choices", ())]
    return [content for content in contents if content]
