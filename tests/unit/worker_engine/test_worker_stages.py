"""A model in stages computes what it computes in one, bit for bit, and each stage holds its part alone."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from bench.engine.weights import model_gguf
from disagg_worker.engine import Engine, SamplingParams
from disagg_worker.engine.engine import Followers
from disagg_worker.engine.stage import LocalStage, local_stage
from disagg_worker.engine.step import Pass, Pick
from disagg_worker.layers import Layers, Place
from disagg_worker.model.gguf import ModelError, read_gguf
from disagg_worker.model.kernels import CpuKernels
from disagg_worker.model.segment import Segment
from disagg_worker.model.weights import digests, fingerprint
from unit.worker_engine.tiny import SPEC, parted, prompt, tiny_config, tiny_weights

FIVE_LAYERS = replace(SPEC, layers=5)
GREEDY = SamplingParams(max_tokens=20, ignore_eos=True)
SEEDED = SamplingParams(max_tokens=20, ignore_eos=True, temperature=1.5, top_p=0.9, seed=5, min_tokens=3)


def engine(ranks: int) -> Engine:
    """An engine of so many stages, all of them here."""
    weights, config = tiny_weights(spec=FIVE_LAYERS), tiny_config(mib=2)
    places = [Place(rank, ranks) for rank in range(ranks)]
    parts = [parted(weights, place) for place in places]
    stages = tuple(
        local_stage(config, FIVE_LAYERS, part, place, "")[1]
        for place, part in zip(places[1:], parts[1:], strict=True)
    )
    hashed = tuple(digest for part in parts[1:] for digest in digests(part))
    return Engine(config, FIVE_LAYERS, parts[0], Followers(stages, hashed))


async def outputs(of: Engine, sampling: SamplingParams) -> list[list[int | None]]:
    await of.start()
    streams = [of.generate(f"{n}", prompt(length, n), sampling) for n, length in enumerate((1, 7, 8, 9, 30))]
    found = [[output.token async for output in stream] for stream in streams]
    await of.stop()
    return found


@pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
async def test_tokens_are_the_same_however_many_ranks_share_the_layers(sampling: SamplingParams) -> None:
    whole = await outputs(engine(1), sampling)
    for ranks in (2, 3, 5):
        assert await outputs(engine(ranks), sampling) == whole


def test_the_fingerprint_is_that_of_the_whole_model() -> None:
    assert engine(3).layout == engine(1).layout
    weights = tiny_weights(spec=FIVE_LAYERS)
    weights.layers[4].down[0, 0] += 1e-3
    assert fingerprint(FIVE_LAYERS, digests(weights)) != engine(1).layout.model_fingerprint


def test_each_rank_has_as_many_blocks_of_its_own_layers_alone() -> None:
    weights, config = tiny_weights(spec=FIVE_LAYERS), tiny_config(mib=2)
    pools = [
        local_stage(config, FIVE_LAYERS, parted(weights, place), place, "")[0]
        for place in (Place(0, 2), Place(1, 2))
    ]
    assert [pool.layers for pool in pools] == [Layers(0, 3), Layers(3, 5)]
    assert pools[0].num_blocks == pools[1].num_blocks
    assert [pool.array.nbytes // pool.num_blocks for pool in pools] == [pool.block_bytes for pool in pools]
    assert pools[0].array.nbytes <= 2 << 20


def test_a_pass_survives_the_way_to_another_rank() -> None:
    pick = Pick(0, SEEDED, (2**64 - 1, 7), frozenset({2, 5}))
    work = Pass(prompt=True, segments=(Segment((1, 2), 16, (3, 9)),), picks=(pick,))
    adapter = TypeAdapter(Pass)
    again = adapter.validate_json(adapter.dump_json(work))
    assert again.picks == work.picks
    assert [list(segment.tokens) for segment in again.segments] == [[1, 2]]
    assert again.segments[0].end == 18


def test_no_logits_are_computed_where_no_token_is_chosen() -> None:
    class Unwilling:
        def prefill(self, segment: Segment, _: object) -> np.ndarray:
            return np.zeros((len(segment.tokens), 4), dtype=np.float32)

    stage = LocalStage(Unwilling(), CpuKernels(), is_last=True)  # type: ignore[arg-type]
    assert stage.run(Pass(prompt=True, segments=(Segment((1, 2), 0, (0,)),), picks=()), None).size == 0


def test_a_rank_reads_its_part_of_the_file_alone() -> None:
    spec, middle = read_gguf(model_gguf(), Place(1, 10))
    assert len(middle.layers) == spec.layers // 10
    assert (middle.embedding, middle.final_norm, middle.unembedding) == (None, None, None)
    _, last = read_gguf(model_gguf(), Place(9, 10))
    assert last.embedding is None
    assert last.unembedding is not None
    assert last.unembedding.shape == (spec.vocab, spec.hidden), "tied to an embedding that is elsewhere"
    assert middle.nbytes < last.nbytes < 4 * spec.vocab * spec.hidden + 2 * middle.nbytes


def test_more_ranks_than_layers_are_refused() -> None:
    with pytest.raises(ModelError, match="31 nodes cannot share 30 layers"):
        read_gguf(model_gguf(), Place(0, 31))
