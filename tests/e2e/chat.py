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
        finish_reason: why it ended; None where it broke off.
    """

    text: str
    chunks: int
    prompt_tokens: int
    completion_tokens: int
    finish_reason: str | None

    def is_whole(self, max_tokens: int) -> bool:
        """Tell whether nothing is missing of an answer of at most so many tokens."""
        if self.finish_reason == "length":
            return self.completion_tokens == max_tokens
        return self.finish_reason == "stop"


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
        reasons: list[str] = []
        usage: dict[str, int] = {}
        with self.http.stream("POST", f"{self.url}/v1/chat/completions", json=body) as answer:
            if answer.is_error:
                answer.read()
            answer.raise_for_status()
            for event in events_of(answer.iter_lines()):
                usage = event.get("usage") or usage
                pieces += pieces_of(event)
                choices = event.get("choices", ())
                reasons += [choice["finish_reason"] for choice in choices if choice.get("finish_reason")]
        return Answer(
            text="".join(pieces),
            chunks=len(pieces),
            prompt_tokens=usage.get("prompt_tokens", 0),
            completion_tokens=usage.get("completion_tokens", 0),
            finish_reason=reasons[-1] if reasons else None,
        )


def metrics(http: httpx.Client, namespace: str, pod: str, port: int = 9091) -> str:
    """Return the metrics of a pod in Prometheus' text form."""
    path = f"/api/v1/namespaces/{namespace}/pods/{pod}:{port}/proxy/metrics"
    return http.get(path).raise_for_status().text


@dataclass
class Load:
    """What clients that ask again and again have met.

    Attributes:
        answered: number of answers that were whole.
        failures: what went wrong, one line each: requests that failed, and answers that broke off.
    """

    answered: int = 0
    failures: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @property
    def asked(self) -> int:
        """Number of requests that have ended, one way or the other."""
        return self.answered + len(self.failures)

    def add(self, failure: str | None) -> None:
        """Count one request, and what went wrong with it, if anything did."""
        with self._lock:
            if failure is None:
                self.answered += 1
            else:
                self.failures.append(f"{time.strftime('%X')} {failure}")


@contextmanager
def constant_load(chat: Chat, pause: float = 0.2, clients: int = 1, max_tokens: int = 4) -> Iterator[Load]:
    """Ask short questions while the block runs.

    Args:
        chat: whom to ask.
        pause: time between an answer and the same client's next question, in seconds.
        clients: how many ask at the same time, each one question after the other.
        max_tokens: longest answer, in tokens.
    """
    load = Load()
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            load.add(_fault(chat, max_tokens))
            ended.wait(pause)

    asking = [threading.Thread(target=ask_on, name=f"constant-load-{number}") for number in range(clients)]
    for client in asking:
        client.start()
    try:
        yield load
    finally:
        ended.set()
        for client in asking:
            client.join()


def _fault(chat: Chat, max_tokens: int) -> str | None:
    """Ask once; return what went wrong, if anything did."""
    try:
        answer = chat.ask("Say hello.", max_tokens=max_tokens)
    except (httpx.HTTPError, ClusterError, ValueError) as error:
        # The words of a refusal tell who refused: the API server's proxy, or a frontend and why.
        words = error.response.text if isinstance(error, httpx.HTTPStatusError) else ""
        return f"{type(error).__name__}: {error} {words}".strip()
    return None if answer.is_whole(max_tokens) else f"an answer that is not whole: {answer}"
