"""The compute loop: takes requests and cancellations, runs steps, and reports what came out.

It runs in one thread, which alone touches the scheduler, the requests and the model. Others talk to it
through `submit`, `cancel` and `wake`; it talks back through one callback per step.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from disagg_worker.engine.request import Event, Goal, Request
from disagg_worker.engine.scheduler import Plan, Scheduler, Work
from disagg_worker.engine.stage import Stage, run_through
from disagg_worker.engine.step import Pass
from disagg_worker.engine.types import EngineStats, EngineStopped, Prefilled, RequestCancelled, TokenOutput

log = logging.getLogger(__name__)

Events = list[tuple[Request, Event]]


class ComputeLoop:
    """The thread that computes.

    Args:
        stages: The model's, over the blocks that the scheduler allocates.
        scheduler: Owned by this loop from now on.
        deliver: Called from the compute thread with events and their requests, in order.
        on_step: Called from the compute thread with the seconds of each step that computed something.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        scheduler: Scheduler,
        deliver: Callable[[Events], None],
        on_step: Callable[[float], None],
    ) -> None:
        self._stages = stages
        self._scheduler = scheduler
        self._deliver = deliver
        self._on_step = on_step
        self._requests: dict[str, Request] = {}
        self._events: Events = []
        self._inbox: list[Request | str] = []
        self._changed = threading.Condition()
        self._awake = False
        self._stopping = False
        self._prompt_tokens = 0
        self._generated_tokens = 0
        self._thread = threading.Thread(target=self._run, name="compute", daemon=True)
        self.failure: Exception | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """End after the current step, cancel what is left, and wait for the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join()

    def submit(self, request: Request) -> None:
        """Hand over a request; raises EngineStopped when the loop does not run."""
        with self._changed:
            if self._stopping or self.failure or not self._thread.is_alive():
                raise EngineStopped("the engine does not take requests: it is not running")
            self._inbox.append(request)
            self._changed.notify()

    def cancel(self, request_id: str) -> None:
        """Ask for a request to be ended; it may end otherwise first."""
        with self._changed:
            self._inbox.append(request_id)
            self._changed.notify()

    def wake(self) -> None:
        """Look for work again: blocks became free."""
        with self._changed:
            self._awake = True
            self._changed.notify()

    def stats(self) -> EngineStats:
        """Counters and gauges; values of one moment each, not all of the same one."""
        return EngineStats(
            running=len(self._scheduler.running),
            waiting=len(self._scheduler.waiting),
            prompt_tokens=self._prompt_tokens,
            generated_tokens=self._generated_tokens,
            preemptions=self._scheduler.preemptions,
            reused_tokens=self._scheduler.reused_tokens,
        )

    def _run(self) -> None:
        try:
            while self._take_messages():
                plan = self._scheduler.plan()
                if plan:
                    self._awake = True
                    self._step(plan)
                self._flush()
        except Exception as error:  # a bug: every request must hear of it, then nothing runs
            log.exception("the compute loop failed")
            self.failure = error
        self._end_all()

    def _take_messages(self) -> bool:
        """Wait until there is something to do, and take in what arrived; False ends the loop."""
        with self._changed:
            while not (self._inbox or self._awake or self._stopping):
                self._changed.wait()
            messages, self._inbox, self._awake = self._inbox, [], False
        for message in messages:
            if isinstance(message, Request):
                self._accept(message)
            elif message in self._requests:
                self._cancel(self._requests[message])
        return not self._stopping

    def _accept(self, request: Request) -> None:
        self._requests[request.id] = request
        self._scheduler.add(request)
        if request.generated:
            self._scheduler.remember(request)
            self._emit_last_token(request)

    def _cancel(self, request: Request) -> None:
        cancelled: Event = TokenOutput(None, "cancelled")
        if request.goal is not Goal.GENERATE:
            cancelled = RequestCancelled(f"request {request.id} was cancelled")
        self._finish(request, cancelled)

    def _end_all(self) -> None:
        with self._changed:
            self._stopping = True
            late = [message for message in self._inbox if isinstance(message, Request)]
        for request in late:
            self._accept(request)
        for request in list(self._requests.values()):
            if self.failure is None:
                self._cancel(request)
            else:
                self._finish(request, EngineStopped(f"the compute loop failed: {self.failure}"))
        self._flush()

    def _step(self, plan: Plan) -> None:
        begin = time.perf_counter()
        for request in plan.granted:
            self._hand_over(request, request.lease)
        # Blocks to read into, and first tokens that prefill chose, need nothing of this step.
        self._flush()
        if plan.decode:
            self._compute(plan.decode, prompt=False)
            self._flush()
        for work in plan.prefill:
            self._compute([work], prompt=True)
            self._prompt_tokens += len(work.segment.tokens)
        if plan.decode or plan.prefill:
            self._on_step(time.perf_counter() - begin)

    def _compute(self, works: list[Work], *, prompt: bool) -> None:
        """Compute positions, and the next token of those requests that are ready for it."""
        ready = [(work, row) for work, row in _last_rows(works) if work.completes]
        picks = tuple(work.request.pick(row) for work, row in ready)
        tokens = run_through(self._stages, Pass(prompt, tuple(work.segment for work in works), picks))
        for work in works:
            work.request.computed = work.segment.end
            if prompt:
                self._scheduler.remember(work.request)
        for (work, _), token in zip(ready, tokens, strict=True):
            request = work.request
            request.tokens.append(token)
            if request.goal is Goal.PREFILL:
                self._hand_over_prompt(request, token)
            else:
                self._emit_last_token(request)

    def _emit_last_token(self, request: Request) -> None:
        self._generated_tokens += 1
        output = TokenOutput(request.tokens[-1], request.finish_reason())
        if output.finish_reason is None:
            self._events.append((request, output))
        else:
            self._finish(request, output)

    def _hand_over_prompt(self, request: Request, token: int) -> None:
        if request.lease is not None:
            request.lease.hold()
            self._hand_over(request, Prefilled(token, request.lease))

    def _hand_over(self, request: Request, event: Event | None) -> None:
        """End a request whose blocks now belong to the receiver of the event."""
        request.lease = None
        if event is not None:
            self._finish(request, event)

    def _finish(self, request: Request, event: Event) -> None:
        del self._requests[request.id]
        self._scheduler.forget(request)
        self._events.append((request, event))

    def _flush(self) -> None:
        if self._events:
            events, self._events = self._events, []
            self._deliver(events)


def _last_rows(works: list[Work]) -> Iterator[tuple[Work, int]]:
    """Find the row of hidden states that each request's last position has."""
    row = -1
    for work in works:
        row += len(work.segment.tokens)
        yield work, row
