"""What every test of the backend starts from: no inherited configuration, and asyncio."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.settings import Settings

SettingsFactory = Callable[..., Settings]

_NOWHERE = "postgresql://maya:pw@127.0.0.1:1/maya"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def no_inherited_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*Settings.model_fields, "maya_password"):
        monkeypatch.delenv(name.upper(), raising=False)
    # A bundle that was built in the working tree leaves its build information beside app/.
    monkeypatch.setenv("BUILD_INFO", str(tmp_path / "no-build-info.json"))


@pytest.fixture
def make_settings(no_inherited_configuration: None) -> SettingsFactory:
    def make(**values: Any) -> Settings:
        return Settings(**({"database_url": _NOWHERE} | values))

    return make


@pytest.fixture
def restored_logging() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "uvicorn", "uvicorn.error", "uvicorn.access", "httpx")]
    before = [(logger, logger.handlers[:], logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, handlers, level, propagate in before:
        logger.handlers[:] = handlers
        logger.setLevel(level)
        logger.propagate = propagate
