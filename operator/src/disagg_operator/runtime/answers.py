"""Questions to the API server that are asked seldom, and what it answered last.

For what no watch is worth: whether a kind is served, whether an object is there that somebody else makes.
Invariant: a question is asked again only after a pause, which is short while the answer is bad news.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping
from typing import Generic, TypeVar

from disagg_operator.reconcile.errors import ClusterError

logger = logging.getLogger(__name__)
Q = TypeVar("Q", bound=Hashable)
A = TypeVar("A")

BAD_SECONDS = 60.0
"""Time after which it is asked again where the answer was bad news, or a reconcile asks."""
GOOD_SECONDS = 900.0
"""Time after which it is asked again where the answer was good news, and nothing else happens."""


class Answers(Generic[Q, A]):
    """The answers to questions of one sort."""

    def __init__(
        self, ask: Callable[[Q], Awaitable[A]], good: Callable[[A], bool], news: Callable[[], None]
    ) -> None:
        """Know nothing yet.

        Args:
            ask: asks the API server; a ClusterError is no answer.
            good: tells whether an answer is good news.
            news: is called where an answer is another than before.
        """
        self._ask, self._good, self._news = ask, good, news
        self._answers: dict[Q, A] = {}
        self._asked: dict[Q, float] = {}
        self._asking: dict[Q, asyncio.Event] = {}

    @property
    def known(self) -> Mapping[Q, A]:
        """What was answered last; a question without an answer yet is missing."""
        return self._answers

    async def refresh(self, questions: Iterable[Q], good_pause: float = GOOD_SECONDS) -> None:
        """Ask the questions whose last answer is too old, and wait for first answers that others asked for.

        Args:
            questions: what to ask.
            good_pause: seconds for which good news hold.
        """
        now = asyncio.get_running_loop().time()
        for question in questions:
            if (answered := self._asking.get(question)) is not None:
                if question not in self._answers:
                    await answered.wait()
                continue
            answer = self._answers.get(question)
            pause = good_pause if answer is not None and self._good(answer) else BAD_SECONDS
            if question not in self._asked or now - self._asked[question] >= pause:
                await self._put(question)

    def keep_only(self, questions: set[Q]) -> None:
        """Forget all other questions."""
        for question in self._asked.keys() - questions:
            del self._asked[question]
            self._answers.pop(question, None)

    async def _put(self, question: Q) -> None:
        self._asked[question] = asyncio.get_running_loop().time()
        before = self._answers.get(question)
        answered = self._asking[question] = asyncio.Event()
        try:
            answer = await self._ask(question)
        except ClusterError as error:
            logger.warning("could not ask about %s: %s", question, error)
            return
        finally:
            del self._asking[question]
            answered.set()
        self._answers[question] = answer
        if answer != before:
            self._news()
