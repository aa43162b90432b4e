"""What the suites of the MAYA backend share: settings that are put back, whatever becomes of the check."""

import contextlib
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from fairlead.verification.api import Api
from fairlead.verification.phases import InPhase

BUSINESS = "/api/business/me"

#: `with restored_settings("name", "greeting") as before: …`
RestoredSettings = Callable[..., AbstractContextManager[dict[str, Any]]]


@pytest.fixture
def restored_settings(account: Api, phase: InPhase) -> RestoredSettings:
    """Give what reads some settings of the business and puts them back, also when the check is broken off."""

    def put_back(before: dict[str, Any]) -> None:
        with phase("persistence"):
            account.put(BUSINESS, before).object()
            read = account.get(BUSINESS).object()
            assert {name: read.get(name) for name in before} == before, "the settings were not put back"

    @contextlib.contextmanager
    def restored(*names: str) -> Iterator[dict[str, Any]]:
        with phase("fetch"):
            settings = account.get(BUSINESS).object()
            before = {name: settings[name] for name in names}
        try:
            yield before
        except BaseException as error:
            try:
                put_back(before)
            except AssertionError as failed:
                # What failed first is what is told: this is a consequence of it.
                error.add_note(f"and {before} was not put back: {failed}")
            raise
        put_back(before)

    return restored


@pytest.fixture
def mark() -> str:
    """Give a word that stands nowhere else, so that what is read back is what this check wrote."""
    return f"check-{uuid.uuid4().hex[:12]}"
