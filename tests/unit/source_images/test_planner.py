"""Plans beyond what the pages say: choices of the person, pins, and what is refused."""

from pathlib import Path

import pytest

from source_images.checkout import Checkout
from source_images.eras import Architecture, load
from source_images.errors import ImageError
from source_images.plan import Plan, Request, Surroundings, Transfer
from source_images.planner import plan
from source_images.versions import version_of
from source_images.wheel import Nixl, Stamp, WheelCache

AMD64, ARM64 = Architecture.AMD64, Architecture.ARM64
BOTH = frozenset(
    option for era in load().built for option in era.options
)  # as build.sh between 0.4.1 and 0.6.1 knows them
CACHE = load().wheel_cache.path


def planned(
    request: Request,
    cache: WheelCache | None = None,
    *,
    options: frozenset[str] = BOTH,
    frameworks: tuple[str, ...] = ("trtllm",),
    description: str = "v0.6.0",
) -> Plan:
    checkout = Checkout(Path("/dynamo"), description, options, frameworks, "c0ffee")
    return plan(request, load(), Surroundings(checkout, cache or WheelCache(CACHE, Nixl.NO_WHEEL), "podman"))


def refusal(
    request: Request, cache: WheelCache | None = None, **more: frozenset[str] | tuple[str, ...]
) -> str:
    with pytest.raises(ImageError) as caught:
        planned(request, cache, **more)  # type: ignore[arg-type]
    return " / ".join(caught.value.lines())


def test_a_tag_and_a_wheel_folder_reach_build_sh_and_the_check() -> None:
    cache = WheelCache(Path("/big/wheels"), Nixl.NO)
    made = planned(Request("2025-experimental", AMD64, tag="registry.example/trtllm:1"), cache)
    remove, build, check = made.steps
    assert remove.argv == ("rm", "-rf", "/big/wheels")
    assert build.shell().endswith("--tag registry.example/trtllm:1 --tensorrtllm-pip-wheel-dir /big/wheels)")
    assert check.argv[check.argv.index("--wheel-dir") + 1] == "/big/wheels"
    assert made.outcome.image == "registry.example/trtllm:1"


def test_the_release_of_the_checkout_is_the_runtime_version() -> None:
    assert planned(Request("2025-experimental", AMD64)).outcome.version == "0.6.0"
    between = planned(Request("2025-experimental", AMD64), description="v0.6.0-12-gabc")
    assert between.outcome.version is None


def test_a_folder_that_holds_other_things_is_never_removed() -> None:
    cache = WheelCache(Path("/home/me"), Nixl.NO, foreign=("letters",))
    said = refusal(Request("2025-experimental", AMD64), cache)
    assert "WHEEL_DIR" in said
    assert "letters" in said
    # Nothing would be removed here, so nothing is refused.
    kept = WheelCache(Path("/home/me"), Nixl.YES, foreign=("letters",))
    assert planned(Request("2025-experimental", AMD64), kept).steps[0].argv[0] == "./container/build.sh"


def test_ucx_leaves_the_cache_alone() -> None:
    (only,) = planned(Request("2025-experimental", AMD64, Transfer.UCX), WheelCache(CACHE, Nixl.NO)).steps
    assert only.argv == ("./container/build.sh", "--framework", "trtllm")


def test_a_kept_wheel_of_another_commit_is_told() -> None:
    stamp = Stamp("2025-beta", ["--tensorrtllm-commit", "main"], "amd64", "v0.7.0", {})
    cache = WheelCache(CACHE, Nixl.YES, commit="amd64_main", stamp=stamp)
    notes = " ".join(planned(Request("2025-experimental", AMD64), cache).notes)
    assert "built with --tensorrtllm-commit main" in notes
    assert "The cached wheel is amd64_main, and amd64_c0ffee is asked for" in notes
    same = WheelCache(CACHE, Nixl.YES, commit="amd64_c0ffee")
    assert "is asked for" not in " ".join(planned(Request("2025-experimental", AMD64), same).notes)


def test_tensorrt_llm_can_be_pinned_where_the_page_says_main() -> None:
    made = planned(Request("2025-beta", AMD64, trtllm_commit="v1.2.0rc3"))
    assert made.steps[0].shell().endswith("--tensorrtllm-commit v1.2.0rc3)")
    assert not any("moved on" in note for note in made.notes)
    assert any("TRTLLM_COMMIT=v1.2.0rc3" in note for note in planned(Request("2025-beta", AMD64)).notes)
    assert "TRTLLM_COMMIT" in refusal(Request("2025-experimental", AMD64, trtllm_commit="v1.2.0rc3"))


def test_a_checkout_of_another_era_is_told_which_fits() -> None:
    newer = frozenset({"--tensorrtllm-git-url", "--tensorrtllm-commit"})
    said = refusal(Request("2025-experimental", AMD64), options=newer)
    assert "or ERA=2025-beta, which this checkout fits" in said
    notes = planned(Request("2025-beta", AMD64)).notes
    assert "/dynamo (v0.6.0) is rather of era 2025-experimental: ERA=2025-experimental." in notes


def test_a_checkout_from_before_the_framework_was_renamed_is_refused() -> None:
    said = refusal(Request("2025-experimental", AMD64), frameworks=("vllm", "tensorrtllm"))
    assert "only vllm, tensorrtllm" in said


@pytest.mark.parametrize(
    ("version", "arch", "tag"),
    [
        ("1.0.1", AMD64, "1.0.1-efa-amd64"),
        ("1.2.1", ARM64, "1.2.1-efa-amd64"),
        ("1.3.1", AMD64, "1.3.1-efa"),
        ("v1.4.2", ARM64, "1.4.2-efa"),
    ],
)
def test_published_efa_images_are_named_not_built(version: str, arch: Architecture, tag: str) -> None:
    made = planned(Request("efa", arch, version=version))
    assert made.steps == ()
    assert made.outcome.image == f"nvcr.io/nvidia/ai-dynamo/tensorrtllm-runtime:{tag}"


@pytest.mark.parametrize(("version", "arch"), [("1.0.0", ARM64), ("1.2.0", AMD64), ("1.2.0", ARM64)])
def test_unpublished_efa_images_are_layered(version: str, arch: Architecture) -> None:
    (only,) = planned(Request("efa", arch, version=version)).steps
    assert only.argv[:2] == ("podman", "build")
    assert "EFA_INSTALLER_VERSION=1.47.0" in only.argv
    # GB200 is the arm64 machine whose GPU memory older libfabrics cannot register.
    assert ("LIBFABRIC_VERSION=2.5.1" in only.argv) == (arch is ARM64)


def test_efa_pins_that_are_too_old_are_refused_with_the_reason() -> None:
    request = Request("efa", ARM64, version="1.1.1", efa_installer="1.46.0")
    assert "EFA_INSTALLER=1.46.0 is too old. NIXL needs" in refusal(request)
    request = Request("efa", ARM64, version="1.1.1", libfabric="2.5.0")
    assert "LIBFABRIC=2.5.0 is too old. Older ones cannot register GPU memory on GB200" in refusal(request)
    newer = planned(Request("efa", ARM64, version="1.1.1", efa_installer="1.49.0", libfabric="2.6.0"))
    assert {"EFA_INSTALLER_VERSION=1.49.0", "LIBFABRIC_VERSION=2.6.0"} <= set(newer.steps[0].argv)


def test_a_base_image_can_be_named_by_digest() -> None:
    base = "mirror.example/trtllm@sha256:00"
    (only,) = planned(Request("efa", ARM64, version="1.1.1", base_image=base)).steps
    assert f"BASE_IMAGE={base}" in only.argv


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("2026", AMD64), "ERA: there is no era '2026' / What to do: write one of: 2025-experimental"),
        (Request("", AMD64), "ERA: no era is named"),
        (Request("efa", AMD64), "VERSION: era efa needs the release of Dynamo"),
        (Request("efa", AMD64, version="new"), "VERSION: 'new' is no version"),
        (Request("nixl-default", AMD64, version="0.7.1"), "begins with Dynamo 0.8.0"),
        (Request("efa", AMD64, version="1.2.0", libfabric="2.5.1"), "leave LIBFABRIC out"),
        (Request("efa", AMD64, version="1.1.1", trtllm_commit="x"), "leave TRTLLM_COMMIT out"),
    ],
)
def test_wrong_input_is_refused_by_name_with_a_remedy(request_: Request, said: str) -> None:
    assert said in refusal(request_)


def test_versions_compare_by_their_numbers() -> None:
    assert version_of("v1.10.0") > version_of("1.9.3.post1")
    assert str(version_of("v0.7.0.post1")) == "0.7.0"
