"""Gives buildah and a base for images, made of Debian's own packages: no daemon and no registry."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
CACHE = ROOT / ".fairlead" / "cache" / "image"
SOURCES = Path("/etc/apt/sources.list.d/debian.sources")
PACKAGES = "python3,python-is-python3,python3-venv,ca-certificates"
BASE = "FROM scratch\nADD base.tar /\nCOPY wheels /wheels\nCOPY pip.conf /etc/pip.conf\n"
PIP = "[global]\nno-index = true\nfind-links = /wheels\n"


@pytest.fixture(scope="session")
def buildah() -> Iterator[str]:
    """Return buildah's program, with a storage of the tests' own."""
    program = shutil.which("buildah")
    if program is None:
        pytest.skip("buildah is not installed: apt-get install buildah mmdebstrap")
    if os.geteuid() != 0:
        pytest.skip("buildah without root needs name spaces that not every machine gives")
    CACHE.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUILDAH_ISOLATION", "chroot")
        # vfs works everywhere and copies everything; overlay is many times as fast where the kernel lets it.
        for driver in (os.environ.get("STORAGE_DRIVER") or "overlay", "vfs"):
            storage = CACHE / driver
            settings = CACHE / f"{driver}.conf"
            settings.write_text(
                f'[storage]\ndriver = "{driver}"\ngraphroot = "{storage}/graph"\nrunroot = "{storage}/run"\n', "utf-8"
            )
            patch.setenv("STORAGE_DRIVER", driver)
            # With layers kept, packages are installed anew only where the lock changed; vfs would copy all for each.
            patch.setenv("BUILDAH_LAYERS", str(driver != "vfs").lower())
            patch.setenv("CONTAINERS_STORAGE_CONF", str(settings))
            if subprocess.run([program, "info"], capture_output=True, check=False).returncode == 0:
                break
        yield program


@pytest.fixture(scope="session")
def base(buildah: str) -> str:
    """Return the name of an image to build on: Debian with Python, and the wheels of the backend's lock."""
    locked = (ROOT / "backend" / "requirements.txt").read_bytes()
    key = hashlib.sha256(b"\0".join([locked, PACKAGES.encode(), BASE.encode(), PIP.encode()])).hexdigest()[:16]
    name = f"localhost/fairlead-test-base:{key}"
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one test process makes it, the others wait
        if subprocess.run([buildah, "inspect", "--type", "image", name], capture_output=True, check=False).returncode:
            make_base(buildah, name)
    return name


def make_base(buildah: str, name: str) -> None:
    """Make the image to build on."""
    context = CACHE / "context"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    os.link(make_system(CACHE / f"debian-{sys.version_info.minor}.tar"), context / "base.tar")
    download_wheels(context / "wheels")
    (context / "pip.conf").write_text(PIP, "utf-8")
    (context / "Dockerfile").write_text(BASE, "utf-8")
    run([buildah, "build", "--quiet", "--format", "docker", "--tag", name, str(context)])
    shutil.rmtree(context)


def make_system(archive: Path) -> Path:
    """Make the file system of a Debian, from the mirror that this machine's apt uses."""
    if archive.exists():
        return archive
    codename = {11: "bookworm", 13: "trixie"}.get(sys.version_info.minor)
    if shutil.which("mmdebstrap") is None or codename is None or not SOURCES.exists():
        pytest.skip("a base is made by mmdebstrap on Debian, of the release that has this Python: 3.11 or 3.13")
    unfinished = archive.with_suffix(".part")
    slim = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale", "info")]
    languages = '--aptopt=Acquire::Languages "none"'
    options = ["--mode=root", "--variant=minbase", "--format=tar", languages, *slim, f"--include={PACKAGES}"]
    run(["mmdebstrap", *options, codename, str(unfinished), str(SOURCES)])
    unfinished.replace(archive)
    return archive


def download_wheels(folder: Path) -> None:
    """Fetch the wheels of the backend's lock as this machine's pip does: a container knows nothing of its settings."""
    lock = ROOT / "backend" / "requirements.txt"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    run([sys.executable, "-m", "pip", "download", *options, "-r", str(lock), "-d", str(folder)])


def run(command: list[str]) -> None:
    """Run a command, and fail with what it said: what cannot be made was not tested."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, f"{command[:3]}: {done.stderr[-2000:]}"
