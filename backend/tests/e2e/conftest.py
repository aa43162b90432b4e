"""What the suites of the MAYA backend share: what they change is undone, whatever becomes of the check."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fairlead.verification.api import Api
from fairlead.verification.phases import InPhase

BUSINESS = "/api/business/me"

#: `with undone(put_back): …`
Undone = Callable[[Callable[[], None]], AbstractContextManager[None]]
#: `with restored_settings("name", "greeting") as before: …`
RestoredSettings = Callable[..., AbstractContextManager[dict[str, Any]]]


@pytest.fixture
def undone() -> Undone:
    """Give the context at whose end something is undone, also when the check is broken off."""

    @contextlib.contextmanager
    def context(undo: Callable[[], None]) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            try:
                undo()
            except Exception as failed:
                if isinstance(error, pytest.skip.Exception):
                    raise  # a check that was left out must not leave anything behind either
                # What failed first is what is told: this is a consequence of it.
                error.add_note(f"and what it changed was not undone: {failed}")
            raise
        undo()

    return context


@pytest.fixture
def restored_settings(account: Api, phase: InPhase, undone: Undone) -> RestoredSettings:
    """Give what reads some settings of the business and puts back those that have changed by the end."""

    def read(names: tuple[str, ...]) -> dict[str, Any]:
        settings = account.get(BUSINESS).object()
        return {name: settings[name] for name in names}

    @contextlib.contextmanager
    def restored(*names: str) -> Iterator[dict[str, Any]]:
        with phase("fetch"):
            before = read(names)

        def put_back() -> None:
            with phase("persistence"):
                changed = dict(before.items() - read(names).items())
                if changed:
                    account.put(BUSINESS, changed).object()
                    assert read(names) == before, f"{before} was not put back"

        with undone(put_back):
            yield before

    return restored


@pytest.fixture
def mark() -> str:
    """Give a word that stands nowhere else, so that what is read back is what this check wrote."""
    return f"check-{uuid.uuid4().hex[:12]}"
