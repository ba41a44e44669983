"""Each sentence of NVIDIA's pages that states a value of an image, with the page's number."""

from pathlib import Path

import pytest

from source_images.checkout import Checkout
from source_images.eras import Architecture, load
from source_images.errors import ImageError
from source_images.plan import Request, Step, Surroundings, Transfer
from source_images.planner import plan
from source_images.wheel import Nixl, WheelCache

CACHE = Path("/tmp/trtllm_wheel")  # noqa: S108  the page's own path
EXPERIMENTAL = frozenset(
    {
        "--use-default-experimental-tensorrtllm-commit",
        "--trtllm-use-nixl-kvcache-experimental",
    }
)
BETA = frozenset({"--tensorrtllm-git-url", "--tensorrtllm-commit"})
AMD64, ARM64 = Architecture.AMD64, Architecture.ARM64


def checkout(options: frozenset[str]) -> Checkout:
    return Checkout(Path("/dynamo"), "v0.6.0", options, ("vllm", "trtllm"), "c0ffee")


def around(options: frozenset[str], nixl: Nixl = Nixl.NO_WHEEL) -> Surroundings:
    return Surroundings(checkout(options), WheelCache(CACHE, nixl))


def steps(request: Request, surroundings: Surroundings) -> tuple[Step, ...]:
    return plan(request, load(), surroundings).steps


def build(request: Request, surroundings: Surroundings) -> str:
    return next(step.shell() for step in steps(request, surroundings) if "./container/build.sh" in step.argv)


def test_seed_000_both_flags_are_required() -> None:
    assert build(Request("2025-experimental", AMD64), around(EXPERIMENTAL)) == (
        "(cd /dynamo && ./container/build.sh --framework trtllm "
        "--use-default-experimental-tensorrtllm-commit --trtllm-use-nixl-kvcache-experimental)"
    )


@pytest.mark.parametrize("missing", sorted(EXPERIMENTAL))
def test_seed_000_a_checkout_that_lacks_one_of_both_flags_is_refused(missing: str) -> None:
    with pytest.raises(ImageError) as caught:
        steps(Request("2025-experimental", AMD64), around(EXPERIMENTAL - {missing}))
    assert f"v0.6.0) does not know {missing};" in caught.value.message
    assert "0.4.1 to 0.6.1" in caught.value.message
    assert "checkout v0.6.0" in caught.value.remedy


def test_seed_003_builds_tensorrt_llm_of_main() -> None:
    assert build(Request("2025-beta", AMD64), around(BETA)) == (
        "(cd /dynamo && ./container/build.sh --framework trtllm "
        "--tensorrtllm-git-url https://github.com/NVIDIA/TensorRT-LLM.git --tensorrtllm-commit main)"
    )


@pytest.mark.parametrize(("era", "options"), [("2025-experimental", EXPERIMENTAL), ("2025-beta", BETA)])
class TestSeeds000And003:
    """What both pages of 2025 say."""

    @pytest.mark.parametrize("nixl", [Nixl.NO, Nixl.UNKNOWN])
    def test_seed_000_003_a_wheel_built_without_nixl_is_removed_first(
        self, era: str, options: frozenset[str], nixl: Nixl
    ) -> None:
        first, *rest = steps(Request(era, AMD64), around(options, nixl))
        assert first.shell() == "rm -rf /tmp/trtllm_wheel"
        assert nixl.value[1:] in first.why
        assert [step.argv[0] for step in rest] == ["./container/build.sh", "env"]

    @pytest.mark.parametrize("nixl", [Nixl.NO_WHEEL, Nixl.YES])
    def test_seed_000_003_only_then_is_a_wheel_removed(
        self, era: str, options: frozenset[str], nixl: Nixl
    ) -> None:
        found = steps(Request(era, AMD64), around(options, nixl))
        assert [step.argv[0] for step in found] == ["./container/build.sh", "env"]

    def test_seed_000_003_nixl_is_for_amd64_only_and_arm64_uses_ucx(
        self, era: str, options: frozenset[str]
    ) -> None:
        with pytest.raises(ImageError) as caught:
            steps(Request(era, ARM64), around(options, Nixl.NO))
        assert caught.value.message.startswith("ARCH=arm64")
        assert "method: UCX" in caught.value.remedy

    def test_seed_000_003_ucx_is_the_default_and_needs_no_option(
        self, era: str, options: frozenset[str]
    ) -> None:
        request = Request(era, ARM64, Transfer.UCX)
        (only,) = steps(request, around(options, Nixl.NO))
        assert only.argv == ("./container/build.sh", "--framework", "trtllm", "--platform", "linux/arm64")

    def test_seed_000_003_etcd_and_nats_run_before_the_service(
        self, era: str, options: frozenset[str]
    ) -> None:
        assert plan(Request(era, AMD64), load(), around(options)).outcome.needs == ("etcd", "NATS")

    def test_seed_000_003_the_wheel_is_cached_in_tmp(self, era: str, options: frozenset[str]) -> None:
        assert load().wheel_cache.path == CACHE
        assert "--tensorrtllm-pip-wheel-dir" not in build(Request(era, AMD64), around(options))


@pytest.mark.parametrize("arch", Architecture)
def test_seed_001_nixl_is_the_default_of_the_published_image(arch: Architecture) -> None:
    made = plan(Request("nixl-default", arch, version="1.1.1"), load(), around(frozenset()))
    assert made.steps == ()
    assert made.outcome.image == "nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.1.1"
    assert made.outcome.needs == ()


def test_seed_002_amd64_has_a_prebuilt_efa_image() -> None:
    made = plan(Request("efa", AMD64, version="1.1.1"), load(), around(frozenset()))
    assert made.steps == ()
    assert made.outcome.image == "nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.1.1-efa-amd64"


def test_seed_002_arm64_has_none_so_the_sdk_goes_over_the_standard_image() -> None:
    made = plan(Request("efa", ARM64, version="1.1.1"), load(), around(frozenset()))
    (only,) = made.steps
    assert only.argv[:4] == ("docker", "build", "--platform", "linux/arm64")
    assert "BASE_IMAGE=nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:1.1.1" in only.argv
    assert "/opt/amazon/efa mounted" in made.notes[0]
