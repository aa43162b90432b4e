import importlib
import sys

import pytest
from fastapi import FastAPI


@pytest.fixture
def import_main(restored_logging):
    def load():
        sys.modules.pop("app.main", None)
        return importlib.import_module("app.main")

    yield load
    sys.modules.pop("app.main", None)


def test_importing_the_entry_point_makes_the_application_and_connects_nowhere(import_main, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/db")

    assert isinstance(import_main().app, FastAPI)


def test_importing_the_entry_point_without_configuration_exits_with_the_message(import_main):
    with pytest.raises(SystemExit) as caught:
        import_main()

    assert "DATABASE_URL is missing" in str(caught.value.code)


def test_malformed_build_information_exits_with_the_message(import_main, monkeypatch, tmp_path):
    path = tmp_path / "build-info.json"
    path.write_text("{")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:1/db")
    monkeypatch.setenv("BUILD_INFO", str(path))

    with pytest.raises(SystemExit) as caught:
        import_main()

    assert f"{path} does not describe a build: it is not JSON" in str(caught.value.code)
