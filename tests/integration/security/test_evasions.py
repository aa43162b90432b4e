"""What lies about in a repository and would have a tool look away, or look elsewhere, held against the real tools."""

import functools
import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fairlead.security import advisories, audit, detect_secrets, kingfisher, schemas, tools
from fairlead.security.locked import read_locked
from tests.git import git
from tests.integration.security.secret_files import draw

needs_kingfisher = pytest.mark.skipif(
    tools.find("kingfisher") is None, reason="kingfisher is in the environments of the gates, and not in this one"
)
NOTHING = "def main():\n    print('nothing found')\n\n\nif __name__ == '__main__':\n    main()\n"


def make_secret() -> bytes:
    return f"TOKEN = {'gh' + 'p_' + draw(36)}\n".encode()


def zip_up(content: bytes, *, name: str = "inner/settings.py", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w", method) as archive:
            archive.writestr(name, content)
        return file.getvalue()


def tar_up(content: bytes) -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as archive:
            member = tarfile.TarInfo("inner/settings.py")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        return file.getvalue()


HIDDEN: dict[str, Callable[[bytes], bytes]] = {
    "stored.zip": lambda content: zip_up(content, method=zipfile.ZIP_STORED),
    "squeezed.whl": lambda content: zip_up(content * 9),
    "deep.zip": lambda content: functools.reduce(lambda inner, _: zip_up(inner, name="a.zip"), range(4), content),
    "old.tar.gz": tar_up,
    "log.gz": gzip.compress,
    "script.ps1": lambda content: content.decode().encode("utf-16"),
    "odd\rname.py": lambda content: content,
    "ends.bin": lambda content: b"\0" * 64 + b"\n" + content,
}


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    git(root, "init", "--quiet")
    for name, hide in HIDDEN.items():
        (root / name).write_bytes(hide(make_secret()))
    git(root, "add", "--all", "--force")
    return root


@needs_kingfisher
def test_a_secret_is_found_wherever_it_is_hidden(repository: Path) -> None:
    scan = kingfisher.scan(repository)
    assert {finding.path for finding in scan.findings} == set(HIDDEN)
    assert scan.gaps == ()


@needs_kingfisher
def test_a_secret_in_an_archive_has_no_line_that_a_mark_could_stand_on(repository: Path) -> None:
    archived = [secret for secret in kingfisher.find(repository).secrets if secret.path == "stored.zip"]
    assert [(secret.line, secret.copy) for secret in archived] == [(0, "")]


@pytest.mark.parametrize("scanner", [detect_secrets, kingfisher])
def test_a_file_whose_name_is_no_text_does_not_pass(tmp_path: Path, scanner: object) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "a.py").write_text("x = 1\n")
    try:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.py")).write_bytes(make_secret())
    except OSError:
        pytest.skip("this file system keeps names in UTF-8")
    git(tmp_path, "add", "--all")
    gaps = scanner.scan(tmp_path).gaps  # type: ignore[attr-defined]  # either module has it
    assert any("its name is not UTF-8" in gap for gap in gaps)


def test_a_module_of_the_repository_is_not_taken_for_pip_audit(tmp_path: Path) -> None:
    pytest.importorskip("pip_audit", reason="the audits are installed for the security gate")
    (tmp_path / "pip_audit.py").write_text(NOTHING)
    (tmp_path / "requirements.txt").write_text(f"six==1.16.0 --hash=sha256:{'0' * 64}\n")
    events = [{"introduced": "0"}]
    affected = [{"package": {"name": "six", "ecosystem": "PyPI"}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}]
    locks = ["requirements.txt"]
    with advisories.serve(advisories.Database([{"id": "GHSA-six", "affected": affected}])) as url:
        scan = audit.scan(tmp_path, locks, expected=read_locked(tmp_path, locks), url=url)
    assert ([finding.rule for finding in scan.findings], scan.gaps) == (["GHSA-six"], ())


@pytest.mark.skipif(not schemas.is_installed(), reason="check-jsonschema is in the environments of the gates only")
def test_a_module_of_the_repository_is_not_taken_for_check_jsonschema(tmp_path: Path) -> None:
    (tmp_path / "check_jsonschema.py").write_text(NOTHING)
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / ".github" / "workflows" / "ci.yml").write_text("name: a workflow without jobs\n")
    scan = schemas.scan(tmp_path)
    assert ({finding.rule for finding in scan.findings}, scan.gaps) == ({"github-workflows"}, ())
