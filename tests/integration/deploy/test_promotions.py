"""A promotion that must not be: what is promoted is what the first environment verified, byte for byte, or nothing."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.integration.deploy.railway_double import OLD, RailwayDouble
from tests.integration.deploy.rows import PROMOTE, STAGING, STRANGE, always, plans, serves
from tests.integration.deploy.script import Plan
from tests.integration.deploy.shop import Ended, Shop, tell
from tests.integration.deploy.sockets import refuse, say


def _kept(shop: Shop) -> Path:
    (archive,) = (shop.state / "bundles").glob("*.tar.gz")
    return archive


def _cut_short(shop: Shop) -> None:
    _kept(shop).write_bytes(_kept(shop).read_bytes()[:1000])


def _pack_again(shop: Shop) -> None:
    _kept(shop).write_bytes(gzip.compress(gzip.decompress(_kept(shop).read_bytes()), 1))


def _alter(shop: Shop) -> None:
    content = gzip.decompress(_kept(shop).read_bytes())
    _kept(shop).write_bytes(gzip.compress(content.replace(b"app = None", b"app = Evil")))


def _fail_once(shop: Shop) -> None:
    plans("FAILED")(shop.double)
    shop.double.served = replace(shop.double.served, healthy=False)
    assert shop.run().code in {13, 14}
    shop.double.served = replace(shop.double.served, healthy=True)


def _cannot_judge(shop: Shop) -> None:
    always("traffic", refuse("Odd"))(shop.double)
    assert shop.run("deploy", "--env", "staging", "--auto-confirm", **{f"{STAGING}WATCH": "2"}).code == 5


CASES = {
    "no fault": (0, lambda shop: None),
    "its archive is gone": (17, lambda shop: _kept(shop).unlink()),
    "its archive is cut short": (17, _cut_short),
    "its archive is packed anew": (17, _pack_again),
    "its archive holds something else": (17, _alter),
    "staging serves something else by now": (
        17,
        lambda shop: setattr(shop.double, "served", replace(shop.double.served, digest=STRANGE)),
    ),
    "staging is not well by now": (
        17,
        lambda shop: setattr(shop.double, "served", replace(shop.double.served, healthy=False)),
    ),
    "staging was never deployed to from here": (17, lambda shop: (shop.state / "history.jsonl").unlink()),
    "the last deploy to staging failed": (17, _fail_once),
    "staging cannot be asked": (12, lambda shop: always("projectToken", say(500, {}))(shop.double)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("impatient")
def test_promotion(
    name: str, shop: Shop, production: RailwayDouble, record_property: Callable[[str, object], None]
) -> None:
    code, arrange = CASES[name]
    assert shop.run().code == 0
    arrange(shop)
    ended = shop.run(*PROMOTE)
    _check(record_property, name, ended, production, code)
    if code == 0:
        assert production.received == shop.double.received, "byte for byte"
    else:
        assert production.received == []


@pytest.mark.usefixtures("impatient")
def test_promotion_of_what_nobody_could_judge(
    shop: Shop, production: RailwayDouble, record_property: Callable[[str, object], None]
) -> None:
    _cannot_judge(shop)
    ended = shop.run(*PROMOTE)
    _check(record_property, "staging could not be judged", ended, production, 17)
    assert production.received == []


@pytest.mark.usefixtures("impatient")
def test_promotion_that_fails_in_production_is_rolled_back_there(
    shop: Shop, production: RailwayDouble, record_property: Callable[[str, object], None]
) -> None:
    assert shop.run().code == 0
    production.plan = Plan(serves=serves(healthy=False))
    ended = shop.run(*PROMOTE)
    _check(record_property, "the release is not well in production", ended, production, 13)


def _check(note: Callable[[str, object], None], name: str, ended: Ended, production: RailwayDouble, code: int) -> None:
    seen = "earlier" if production.served.digest == OLD else "new"
    wanted = "new" if code == 0 else "earlier"
    tell(note, f"promotion: {name}", ended, seen, expected=f"{code}, {wanted}")
    assert (ended.code, seen) == (code, wanted), ended.said
    assert "Traceback" not in ended.said
