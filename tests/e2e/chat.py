"""A client of the frontend's OpenAI API and of the workers' metrics, through the API server's proxy."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from testcluster.chat import chat_request, events_of, pieces_of
from testcluster.demo import MODEL
from testcluster.errors import ClusterError


@dataclass(frozen=True)
class Answer:
    """What the model said.

    Attributes:
        text: the whole text.
        chunks: how many pieces it came in.
        prompt_tokens: tokens of the prompt, chat template included.
        completion_tokens: tokens of the answer.
    """

    text: str
    chunks: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Chat:
    """The frontend of one deployment.

    Attributes:
        http: client of the API server.
        namespace: namespace of the deployment.
        deployment: name of the deployment.
    """

    http: httpx.Client
    namespace: str
    deployment: str

    @property
    def url(self) -> str:
        """Path of the frontend's Service below the API server."""
        return f"/api/v1/namespaces/{self.namespace}/services/{self.deployment}-frontend:http/proxy"

    def ask(self, question: str, max_tokens: int = 6) -> Answer:
        """Ask with streaming and greedy sampling.

        Args:
            question: the user's message.
            max_tokens: longest answer, in tokens.

        Raises:
            httpx.HTTPError: the request failed.
            ClusterError: the answer broke off with an error.
        """
        body = chat_request(MODEL, question, max_tokens=max_tokens)
        pieces: list[str] = []
        usage: dict[str, int] = {}
        with self.http.stream("POST", f"{self.url}/v1/chat/completions", json=body) as answer:
            if answer.is_error:
                answer.read()
            answer.raise_for_status()
            for event in events_of(answer.iter_lines()):
                usage = event.get("usage") or usage
                pieces += pieces_of(event)
        return Answer("".join(pieces), len(pieces), usage["prompt_tokens"], usage["completion_tokens"])


def metrics(http: httpx.Client, namespace: str, pod: str, port: int = 9091) -> str:
    """Return the metrics of a pod in Prometheus' text form."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics"
    return http.get(path).raise_for_status().text


@dataclass
class Load:
    """What a client that asks again and again has met.

    Attributes:
        answered: number of answers.
        failures: what went wrong, one line each.
    """

    answered: int = 0
    failures: list[str] = field(default_factory=list)


@contextmanager
def constant_load(chat: Chat, pause: float = 0.2) -> Iterator[Load]:
    """Ask short questions one after the other while the block runs.

    Args:
        chat: whom to ask.
        pause: time between an answer and the next question, in seconds.
    """
    load = Load()
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            try:
                answer = chat.ask("Say hello.", max_tokens=4)
            except (httpx.HTTPError, ClusterError, KeyError, ValueError) as error:
                # The words of a refusal tell who refused: the API server's proxy, or a frontend and why.
                words = error.response.text if isinstance(error, httpx.HTTPStatusError) else ""
                load.failures.append(f"{time.strftime('%X')} {type(error).__name__}: {error} {words}".strip())
            else:
                if answer.completion_tokens:
                    load.answered += 1
                else:
                    load.failures.append(f"{time.strftime('%X')} an empty answer")
            ended.wait(pause)

    client = threading.Thread(target=ask_on, name="constant-load")
    client.start()
    try:
        yield load
    finally:
        ended.set()
        client.join()
