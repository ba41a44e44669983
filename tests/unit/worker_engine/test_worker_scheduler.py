"""Which positions are computed when: order, chunks, room for growth, preemption."""

from disagg_worker.engine.request import Goal, Request
from disagg_worker.engine.scheduler import Plan, Scheduler
from disagg_worker.engine.types import SamplingParams
from disagg_worker.kv import BlockPool, KVLayout

LAYOUT = KVLayout(layers=1, kv_heads=1, head_dim=1, block_tokens=4, dtype="float32", model_fingerprint="")


def request(name: str, prompt: int, *, max_tokens: int = 50, goal: Goal = Goal.GENERATE) -> Request:
    params = SamplingParams(max_tokens=max_tokens)
    return Request(name, goal, [0] * prompt, prompt, prompt + max_tokens, params, 0, frozenset())


def scheduler(blocks: int, *requests: Request, batch: int = 8, chunk: int = 8) -> Scheduler:
    made = Scheduler(BlockPool(LAYOUT, blocks), batch, chunk)
    for one in requests:
        made.add(one)
    return made


def run(plan: Plan) -> dict[str, tuple[int, int]]:
    """Pretend to compute a step; returns the positions of each request."""
    for work in (*plan.decode, *plan.prefill):
        work.request.computed = work.segment.end
        if work.completes:
            work.request.tokens.append(0)
    return {work.request.id: (work.segment.start, work.segment.end) for work in (*plan.decode, *plan.prefill)}


def test_a_prompt_is_cut_at_multiples_of_the_chunk_whatever_else_runs() -> None:
    alone = scheduler(64, request("long", 20))
    steps_alone = [run(alone.plan())["long"] for _ in range(4)]
    busy = scheduler(64, request("a", 3), request("long", 20), request("b", 5))
    steps_busy = [step["long"] for step in (run(busy.plan()) for _ in range(7)) if "long" in step]
    assert steps_alone == [(0, 8), (8, 16), (16, 20), (20, 21)]
    assert steps_busy[:4] == steps_alone


def test_short_prompts_share_a_step_up_to_the_chunk() -> None:
    plan = scheduler(64, request("a", 3), request("b", 5), request("c", 1)).plan()
    assert run(plan) == {"a": (0, 3), "b": (0, 5)}


def test_decode_goes_on_while_a_long_prompt_is_computed() -> None:
    made = scheduler(64, request("a", 3))
    run(made.plan())
    made.add(request("long", 40))
    for step in range(4):
        assert run(made.plan()) == {"a": (3 + step, 4 + step), "long": (8 * step, 8 * step + 8)}


def test_a_younger_request_does_not_overtake() -> None:
    made = scheduler(10, request("a", 20), request("big", 30), request("small", 1))
    run(made.plan())
    assert [r.id for r in made.running] == ["a"]
    assert [r.id for r in made.waiting] == ["big", "small"]


def test_the_batch_has_a_limit_but_reservations_need_no_place_in_it() -> None:
    made = scheduler(64, request("a", 3), batch=1)
    run(made.plan())
    made.add(request("r", 9, goal=Goal.RESERVE))
    made.add(request("b", 3))
    plan = made.plan()
    assert [r.id for r in plan.granted] == ["r"]
    assert [r.id for r in made.running] == ["a"]
    assert len(plan.granted[0].lease.blocks if plan.granted[0].lease else ()) == 3


def test_admission_leaves_a_block_for_each_running_request() -> None:
    made = scheduler(4, request("a", 4))  # 2 blocks: the prompt and one step
    run(made.plan())
    made.add(request("b", 5))  # 2 blocks, but a will need one
    run(made.plan())
    assert [r.id for r in made.waiting] == ["b"]


def test_the_youngest_gives_its_blocks_to_the_oldest_and_starts_again() -> None:
    old, young = request("old", 7), request("young", 3)
    made = scheduler(4, old, young)
    for _ in range(6):
        run(made.plan())
    assert made.preemptions == 1
    assert [r.id for r in made.waiting] == ["young"]
    assert young.lease is None
    assert young.computed == 0
    generated = young.generated
    made.forget(old)
    assert run(made.plan())["young"] == (0, 3)
    for step in range(generated):
        assert young.generated == generated
        assert run(made.plan())["young"] == (3 + step, 4 + step)
    assert young.generated == generated + 1


def test_a_request_that_waits_with_blocks_can_lose_them() -> None:
    old, resumed = request("old", 7), request("resumed", 4)
    made = scheduler(4, old, batch=1)
    run(made.plan())
    made.add(resumed)
    resumed.lease, resumed.computed = made._pool.allocate(8), 4
    resumed.tokens.append(0)
    for _ in range(3):
        run(made.plan())
    assert made.preemptions == 1
    assert resumed.computed == 0
    assert old in made.running


def test_handed_out_leases_are_never_taken() -> None:
    lonely = request("lonely", 4)
    made = scheduler(4, lonely)
    held = made._pool.allocate(8)
    for _ in range(8):
        run(made.plan())
    assert not held.released
    assert lonely.lease is None
    assert not made.plan()
    held.release()
    assert run(made.plan())["lonely"] == (0, 4)


def test_prompt_of_the_whole_pool_with_one_token_to_generate() -> None:
    made = scheduler(3, request("full", 12, max_tokens=1))
    run(made.plan())
    assert run(made.plan()) == {"full": (8, 12)}
