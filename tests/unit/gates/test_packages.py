import zipfile
from pathlib import Path

import pytest

from fairlead.exceptions import CommandError, ConfigurationError
from fairlead.gates import packages


def _repository(root: Path) -> Path:
    (root / "pyproject.toml").write_text('[tool.fairlead]\nname = "x"\n')
    return root


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return _repository(tmp_path)


def test_files_that_a_wheel_lacks_are_named(tmp_path: Path) -> None:
    package = tmp_path / "toolkit"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "py.typed", "__pycache__/a.pyc"):
        (package / name).touch()
    wheel = tmp_path / "toolkit.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("toolkit/__init__.py", "")
    assert packages.files_left_out(package, wheel) == ["toolkit/py.typed"]


def test_an_unknown_package_is_refused(repository: Path) -> None:
    with pytest.raises(ConfigurationError, match="no package sdist"):
        packages.build(["sdist"])


def test_each_failure_is_told_and_the_other_package_still_checked(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(check: packages.Check) -> str:
        raise CommandError("no such module", output="ModuleNotFoundError: nothing")

    monkeypatch.setattr(packages, "check_bundle", fail)
    monkeypatch.setattr(packages, "check_wheel", lambda check: "runs")
    assert packages.build([]) == 1
    told = capsys.readouterr().err
    assert "bundle: no such module" in told
    assert "ModuleNotFoundError" in told
    assert "wheel: runs" in told


def test_nothing_of_the_surrounding_environment_reaches_the_package(tmp_path: Path) -> None:
    from fairlead import config

    _repository(tmp_path)
    given = {"PATH": "/bin", "PYTHONPATH": "/repo", "VIRTUAL_ENV": "/v", "DATABASE_URL": "x", "FAIRLEAD_DEBUG": "1"}
    check = packages.Check(config.load(tmp_path, environ=given), tmp_path)
    assert check.environ == {"PATH": "/bin"}


def test_scratch_folders_are_removed(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Path] = []

    def look(check: packages.Check) -> str:
        assert check.scratch.is_dir()
        seen.append(check.scratch)
        return "fine"

    monkeypatch.setattr(packages, "check_bundle", look)
    assert packages.build(["bundle"]) == 0
    assert not seen[0].exists()
