"""What GitHub's artifacts hand on: each attempt of a job is a new machine, and so is the one that promotes."""

import shutil
from pathlib import Path

import pytest

from tests.integration.deploy.railway_double import RailwayDouble
from tests.integration.deploy.rows import PROMOTE, STAGING, always
from tests.integration.deploy.shop import Ended, Shop
from tests.integration.deploy.sockets import refuse

STATE = "FAIRLEAD_STATE_DIRECTORY"


def attempt(shop: Shop, folder: Path, *, watched: bool) -> Ended:
    """Deploy to staging on a machine that knows nothing of an earlier attempt."""
    variables = {STATE: str(folder), f"{STAGING}WATCH": "2" if watched else "0"}
    return shop.run("deploy", "--env", "staging", "--auto-confirm", **variables)


@pytest.mark.usefixtures("impatient")
def test_an_attempt_that_sends_nothing_vouches_for_the_bundle_of_the_one_before(
    shop: Shop, production: RailwayDouble, tmp_path: Path
) -> None:
    first, second, promoting = tmp_path / "first", tmp_path / "second", tmp_path / "promoting"
    always("traffic", refuse("Odd"))(shop.double)
    assert attempt(shop, first, watched=True).code == 5
    assert attempt(shop, second, watched=False).code == 0
    assert len(shop.double.received) == 1
    assert list(first.glob("bundles/*.tar.gz"))
    assert not list(second.glob("bundles/*.tar.gz")), "there is nothing to keep in the place of the first one's"

    promoting.mkdir()
    shutil.copy(second / "history.jsonl", promoting)
    shutil.copytree(first / "bundles", promoting / "bundles")
    ended = shop.run(*PROMOTE, **{STATE: str(promoting)})
    assert ended.code == 0, ended.said
    assert production.received == shop.double.received, "byte for byte"


@pytest.mark.usefixtures("impatient")
def test_the_record_of_the_attempt_that_could_not_tell_promotes_nothing(
    shop: Shop, production: RailwayDouble, tmp_path: Path
) -> None:
    always("traffic", refuse("Odd"))(shop.double)
    assert attempt(shop, tmp_path / "first", watched=True).code == 5
    ended = shop.run(*PROMOTE, **{STATE: str(tmp_path / "first")})
    assert ended.code == 17
    assert "only a healthy release is promoted" in ended.said
    assert production.received == []
