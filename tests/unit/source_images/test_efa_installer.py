"""The EFA installer runs only if AWS signed it. SIMULATED: site, key and installer. gpg is real."""

import subprocess
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from source_images.eras import FOLDER

SCRIPT = FOLDER / "efa/install-sdk"
AWS = "4E9091BCBB97A96B26B15E59A05480B1DD2D3CCC"
"""https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-start.html prints it."""
INSTALLER = b"#!/bin/sh\necho installer $*\nexit 7\n"
"""Ends the script before it writes anywhere but into its own folder."""


def gpg(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode=loopback", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A keyring with two keys that can sign."""
    folder = tmp_path_factory.mktemp("gpg")
    folder.chmod(0o700)
    for name in ("ours", "theirs"):
        gpg(folder, "--passphrase", "", "--quick-generate-key", name, "ed25519", "sign")
    return folder


def fingerprint(home: Path, name: str) -> str:
    listed = gpg(home, "--with-colons", "--fingerprint", name).splitlines()
    return next(line.split(":")[9] for line in listed if line.startswith("fpr"))


def archive(content: bytes) -> bytes:
    file = BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        entry = tarfile.TarInfo("aws-efa-installer/efa_installer.sh")
        entry.size, entry.mode = len(content), 0o755
        tar.addfile(entry, BytesIO(content))
    return file.getvalue()


@pytest.fixture
def install(tmp_path: Path, home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the script against a site that serves an archive signed by ``key``, and expects ``expected``'s."""

    def run(
        key: str = "ours", expected: str = "ours", served: bytes | None = None
    ) -> subprocess.CompletedProcess[str]:
        site = tmp_path / "site"
        site.mkdir()
        signed = site / "aws-efa-installer-1.47.0.tar.gz"
        signed.write_bytes(archive(INSTALLER))
        gpg(home, "--local-user", key, "--output", f"{signed}.sig", "--detach-sign", str(signed))
        gpg(home, "--armor", "--output", str(site / "aws-efa-installer.key"), "--export", key)
        if served is not None:
            signed.write_bytes(served)
        programs = tmp_path / "bin"
        programs.mkdir()
        (programs / "curl").write_text(f'#!/bin/sh\nfor url; do :; done\ncp "{site}/${{url##*/}}" .\n')
        (programs / "apt-get").write_text("#!/bin/sh\n")
        for program in programs.iterdir():
            program.chmod(0o755)
        script = tmp_path / "install-sdk"
        script.write_text(SCRIPT.read_text().replace(AWS, fingerprint(home, expected)))
        return subprocess.run(
            ["sh", str(script), "1.47.0"],
            env={"PATH": f"{programs}:/usr/bin:/bin", "TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def test_the_key_is_the_one_that_aws_prints() -> None:
    assert f"fingerprint={AWS}\n" in SCRIPT.read_text()


def test_a_signed_installer_is_run(install: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = install()
    assert done.stdout == "installer -y --skip-kmod --skip-limit-conf --no-verify\n", done.stderr
    assert done.returncode == 7


def test_an_archive_that_was_changed_is_not_run(
    install: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = install(served=archive(b"#!/bin/sh\necho changed\n"))
    assert (done.returncode, done.stdout) == (1, "")
    assert "EFA: aws-efa-installer-1.47.0.tar.gz is not what AWS signed: " in done.stderr


def test_another_key_beside_its_own_archive_is_not_believed(
    install: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = install(key="theirs", expected="ours")
    assert (done.returncode, done.stdout) == (1, "")
    assert "is signed by another key than AWS's, " in done.stderr
