"""Questions that are asked seldom, by several at once."""

import asyncio

from disagg_operator.reconcile.errors import ClusterError
from disagg_operator.runtime.answers import BAD_SECONDS, Answers
from unit.runtime.fast_loop import run


class Oracle:
    """A FAKE API server that needs a second for an answer, and refuses while it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.fails = False

    async def ask(self, question: str) -> bool:
        self.asked += 1
        await asyncio.sleep(1)
        if self.fails:
            raise ClusterError(503, "", "later")
        return question == "yes"


def test_who_asks_while_the_first_answer_is_under_way_gets_it_too() -> None:
    oracle = Oracle()

    async def main() -> None:
        answers = Answers(oracle.ask, bool, lambda: None)
        await asyncio.gather(*(_known(answers, "no") for _ in range(4)))

    async def _known(answers: Answers[str, bool], question: str) -> None:
        await answers.refresh([question])
        assert answers.known == {question: False}

    run(main())
    assert oracle.asked == 1


def test_nobody_waits_for_a_later_answer_that_another_asked_for() -> None:
    oracle = Oracle()

    async def main() -> None:
        answers = Answers(oracle.ask, bool, lambda: None)
        await answers.refresh(["no"])
        await asyncio.sleep(BAD_SECONDS)
        asking = asyncio.create_task(answers.refresh(["no"]))
        await asyncio.sleep(0)
        before = asyncio.get_running_loop().time()
        await answers.refresh(["no"])
        assert asyncio.get_running_loop().time() == before
        await asking

    run(main())
    assert oracle.asked == 2


def test_those_who_wait_go_on_where_there_is_no_answer() -> None:
    oracle = Oracle()
    oracle.fails = True

    async def main() -> None:
        answers = Answers(oracle.ask, bool, lambda: None)
        await asyncio.gather(*(answers.refresh(["no"]) for _ in range(4)))
        assert answers.known == {}

    run(main())
    assert oracle.asked == 1
