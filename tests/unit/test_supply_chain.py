"""What is delivered is what was locked: hashes of every package, locked installs, and a list of it all."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
PURL = re.compile(r"pkg:pypi/[a-z0-9.-]+@[A-Za-z0-9.+!_-]+")


def test_every_locked_package_has_hashes_of_all_its_files() -> None:
    locked = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    fetched = [package for package in locked if "registry" in package["source"]]
    assert len(fetched) > 50
    for package in fetched:
        files = [*package.get("wheels", []), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        assert all(SHA256.fullmatch(file["hash"]) for file in files), package["name"]
    here = [package["source"] for package in locked if "registry" not in package["source"]]
    assert all({"editable", "virtual"} & set(source) for source in here), (
        "of this repository, and nothing else"
    )


@pytest.mark.parametrize("image", ["operator", "worker"])
def test_images_install_what_is_locked_on_bases_that_are_pinned(image: str) -> None:
    text = (ROOT / "images" / image / "Containerfile").read_text()
    installs = [line for line in text.splitlines() if "uv sync" in line]
    assert installs
    assert all("--locked" in line for line in installs)
    bases = re.findall(r"^ARG \w*BASE=(\S+)", text, re.MULTILINE)
    assert bases
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", base) for base in bases)
    assert re.findall(r"pip install.*?(\S+) *$", text, re.MULTILINE) == ["uv==0.13.9"]


@pytest.mark.parametrize("image", ["operator", "worker"])
def test_what_images_install_is_there_for_arm64(image: str) -> None:
    packages = {each["name"]: each for each in tomllib.loads((ROOT / "uv.lock").read_text())["package"]}
    needed, todo = set[str](), [f"disagg-{image}"]
    while todo:
        name = todo.pop()
        if name not in needed:
            needed.add(name)
            todo += [each["name"] for each in packages[name].get("dependencies", ())]
    assert len(needed) > 20
    for name in needed - {f"disagg-{image}"}:
        wheels = [wheel["url"] for wheel in packages[name]["wheels"]]
        fitting = [url for url in wheels if "none-any" in url or ("manylinux" in url and "aarch64" in url)]
        assert fitting, f"{name} has no wheel for Linux on arm64"


def test_modules_of_go_are_locked() -> None:
    modules = list(ROOT.glob("tests/cluster/*/go.mod"))
    assert modules
    for module in modules:
        sums = module.with_name("go.sum").read_text().splitlines()
        assert sums
        assert all(re.search(r" h1:[A-Za-z0-9+/]{43}=$", line) for line in sums)


def test_the_bill_of_materials_names_each_package_of_an_image_with_its_hashes(tmp_path: Path) -> None:
    subprocess.run([ROOT / "hack" / "sbom", tmp_path], check=True, timeout=120, env=os.environ)
    for image, one in (("operator", "kopf"), ("worker", "nixl-cu13")):
        text = (tmp_path / f"{image}.cdx.json").read_text()
        assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None, "CycloneDX's own schema"
        bill = json.loads(text)
        assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.5")
        assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", bill["serialNumber"])
        components = bill["components"]
        names = {component["name"] for component in components}
        assert one in names
        assert not {"pytest", "ruff"} & names, "what only the tests need is not in an image"
        references = {component["bom-ref"] for component in components}
        assert len(references) == len(components)
        for component in components:
            assert component["type"] == "library"
            assert PURL.fullmatch(component["purl"]), component
            hashes = [each for found in component["externalReferences"] for each in found.get("hashes", ())]
            assert hashes
            assert all(
                each["alg"] == "SHA-256" and re.fullmatch("[0-9a-f]{64}", each["content"]) for each in hashes
            )
        top = bill["metadata"]["component"]["bom-ref"]
        for entry in bill["dependencies"]:
            assert {entry["ref"], *entry.get("dependsOn", ())} <= references | {top}
    assert "python3" in (tmp_path / "debian.txt").read_text().split()
