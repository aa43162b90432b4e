"""The backend's Dockerfile, by its text; what becomes of it tests/integration/image shows."""

import json
import re
from pathlib import Path

from fairlead import _procfile

BACKEND = Path(__file__).parents[3] / "backend"
TEXT = (BACKEND / "Dockerfile").read_text("utf-8")


def test_the_base_is_pinned_by_a_digest_and_says_its_tag() -> None:
    (base,) = re.findall(r"^ARG PYTHON_IMAGE=(.*)$", TEXT, re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)
    assert set(re.findall(r"^FROM (\S+)", TEXT, re.MULTILINE)) == {"${PYTHON_IMAGE}"}


def test_what_installs_is_left_behind_and_nobody_in_particular_runs_it() -> None:
    first, second = TEXT.split("\nFROM ")[1:]
    assert "pip install" in first
    assert "pip" not in second
    assert re.findall(r"^USER (.*)$", TEXT, re.MULTILINE) == ["10001:10001"]
    assert "USER" in second


def test_packages_come_from_the_lock_by_their_hashes_and_as_wheels() -> None:
    (install,) = (line for line in TEXT.replace("\\\n", " ").splitlines() if "pip install" in line)
    assert {"--require-hashes", "--only-binary=:all:", "-r"} <= set(install.split())


def test_it_starts_and_checks_itself_without_a_shell() -> None:
    commands = [json.loads(words) for words in re.findall(r"^\s*CMD (.*)$", TEXT, re.MULTILINE)]
    health, start = commands
    assert health[0] == "python"
    assert start == ["python", "-m", "fairlead.image.start", _procfile.WEB]
    assert "Procfile" in next(line for line in TEXT.splitlines() if line.startswith("COPY") and "build-info" in line)
    assert "ENTRYPOINT" not in TEXT


def test_a_build_in_the_backends_own_folder_is_sent_nothing_but_the_names_of_a_bundle() -> None:
    lines = (BACKEND / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    copied = {
        word
        for line in TEXT.splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert rules[0] == "*"
    assert {rule.removeprefix("!") for rule in rules if rule.startswith("!")} == copied
