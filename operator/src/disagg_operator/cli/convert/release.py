"""Engine, release and image, from the command, ``backendFramework`` and the tags of images."""

import re
from collections.abc import Iterable

from packaging.version import InvalidVersion, Version

from disagg_operator.api.v1alpha1.runtime import FrontendKind
from disagg_operator.cli.convert.draft import Draft
from disagg_operator.cli.convert.faults import ConversionError
from disagg_operator.cli.convert.graph import Graph
from disagg_operator.cli.convert.part import Part
from disagg_operator.cli.convert.placeholders import WHY, is_placeholder
from disagg_operator.cli.convert.roles import Cast
from disagg_operator.platforms.catalogue import Catalogue

DYNAMO = FrontendKind.DYNAMO.value
_MODULES = {
    "dynamo.trtllm": "trtllm",
    "dynamo.vllm": "vllm",
    "dynamo.sglang": "sglang",
    "dynamo.mocker": "mocker",
}
_IMAGES = {"tensorrtllm-runtime": "trtllm", "vllm-runtime": "vllm", "sglang-runtime": "sglang"}
_TAG = re.compile(r":v?(?P<version>\d+\.\d+\.\d+(?:[.-]?(?:post|dev|rc)[.-]?\d+)*)(?=$|[-@+])")


def write_runtime(draft: Draft, graph: Graph, cast: Cast, known: Catalogue, wish: str) -> str:
    """Write ``spec.runtime`` and return the engine.

    Args:
        draft: what is written to.
        graph: the graph.
        cast: its components.
        known: the releases that there are.
        wish: version that the user asks for, or nothing.

    Raises:
        ConversionError: no engine can be told, or the roles have different ones.
    """
    engine = _engine(draft, graph, cast)
    draft.write("spec.runtime.engine", engine)
    draft.write("spec.runtime.frontend", DYNAMO)
    images = [worker.component.container["image"] for worker in cast.workers]
    releases = known.runtimes[DYNAMO].items()
    holding = [version for version, profile in releases if engine in profile.engines]
    version, exact = _version(draft, images, holding or list(known.runtimes[DYNAMO]), wish)
    if version:
        draft.write("spec.runtime.version", version)
    _write_image(draft, cast, images, exact=exact)
    return engine


def _engine(draft: Draft, graph: Graph, cast: Cast) -> str:
    framework = graph.part.at("spec", "backendFramework")
    found: dict[str, str] = {}
    for worker in cast.workers:
        module, image = worker.command.module, worker.component.container["image"].text
        by_module = next((engine for name, engine in _MODULES.items() if module.startswith(name)), None)
        by_image = next((engine for name, engine in _IMAGES.items() if f"/{name}:" in f"/{image}"), None)
        engine = by_module or framework.text or by_image
        if not engine:
            raise ConversionError(
                f"the engine of component {worker.component.name}, running {module or 'none of Dynamo'}, "
                f"cannot be told. Write a command with -m {', '.join(_MODULES)}, or spec.backendFramework"
            )
        found.setdefault(
            engine, f"the module {module}" if by_module else "spec.backendFramework or the image's name"
        )
    if len(found) > 1:
        raise ConversionError(
            f"prefill and decode have different engines: {' and '.join(found)}. Use one for both"
        )
    ((engine, how),) = found.items()
    if framework:
        draft.note("spec.runtime.engine", framework)
    draft.choose("engine", engine, f"by {how}")
    return engine


def _version(draft: Draft, images: Iterable[Part], known: list[str], wish: str) -> tuple[str, bool]:
    """Return the release to write, if any, and whether it is just the one of the image's tag."""
    if wish:
        draft.choose("version", wish, "by --runtime-version")
        return wish, False
    tags = [tag for part in images if not is_placeholder(part.text) and (tag := _tag(part.text)) is not None]
    if not tags:
        draft.choose(
            "version", "", "no image's tag names one, so the newest known one: --runtime-version says another"
        )
        return "", False
    asked = tags[0]
    exact = next((each for each in known if Version(each) == asked), None)
    if exact is not None:
        draft.choose("version", exact, "by the image's tag")
        return exact, True
    same = [each for each in known if Version(each).release[:2] == asked.release[:2]]
    if same:
        draft.choose(
            "version",
            same[0],
            f"the image's tag says {asked}; of {same[0]}, the same but for fixes, all is known",
        )
        return same[0], False
    nearest = min(known, key=lambda each: _distance(Version(each), asked))
    draft.choose(
        "version",
        nearest,
        f"the image's tag says {asked}, of which nothing is known; {nearest} is nearest: check it",
    )
    return nearest, False


def _distance(one: Version, other: Version) -> tuple[int, int, int]:
    padded = zip((*one.release, 0, 0, 0), (*other.release, 0, 0, 0), strict=False)
    major, minor, fix = [abs(mine - theirs) for mine, theirs in padded][:3]
    return major, minor, fix


def _tag(image: str) -> Version | None:
    match = _TAG.search(image)
    if match is None:
        return None
    try:
        return Version(match["version"].replace("-", "."))
    except InvalidVersion:
        return None


def _write_image(draft: Draft, cast: Cast, images: list[Part], *, exact: bool) -> None:
    given = [image for image in images if image and not is_placeholder(image.text)]
    for image in images:
        if image and image not in given:
            draft.ledger.dropped(image, f"{WHY}: the release's own image is used")
    if given:
        chosen = given[0]
        for image in given:
            if image.text != chosen.text:
                draft.ledger.dropped(image, f"prefill and decode run one image, {chosen.text}")
        same = [image for image in given if image.text == chosen.text]
        if exact:
            draft.offer("prefill", "image", "image", chosen.text, *same)
        else:
            draft.write("spec.runtime.image", chosen.text, *same)
    policies = [worker.component.container["imagePullPolicy"] for worker in cast.workers]
    for policy in policies:
        if policy:
            draft.write("spec.runtime.imagePullPolicy", policy.text, policy)
    pods = [worker.component.pod for worker in cast.workers]
    if cast.frontend is not None:
        pods.append(cast.frontend.pod)
    for secret in (entry for pod in pods for entry in pod["imagePullSecrets"].entries()):
        draft.append("spec.runtime.imagePullSecrets", {"name": secret["name"].text}, secret)
