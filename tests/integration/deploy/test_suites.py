"""The end-to-end suites of a deploy: what is on record of them, when they run again, what stops them."""

import json
import re
from collections.abc import Callable, Mapping

import pytest

from fairlead import config
from fairlead.deploy import find_recorded_digest
from fairlead.deploy.promotion import find_verified
from fairlead.exceptions import PreflightError
from fairlead.history import Event, History
from fairlead.verification import hold_turn
from tests.integration.deploy.railway_double import OLD, OLDER, RailwayDouble
from tests.integration.deploy.rows import STAGING, SUITES, plans, serves
from tests.integration.deploy.script import WORKER, Plan
from tests.integration.deploy.shop import Shop, tell

pytestmark = pytest.mark.usefixtures("impatient")

UNKNOWN = serves(paths={"/api/orders": 501})
ACCOUNT = {name: value for name, value in SUITES.items() if name.startswith("VERIFY_")}
FULL = SUITES | {f"{STAGING}SUITES": "full"}


def _last(shop: Shop) -> Event:
    return History(shop.state).load()[-1]


@pytest.mark.parametrize(("status", "verdict", "came_to"), [(200, "healthy", "passed"), (500, "failed", "failed")])
def test_record_tells_which_suites_ran_and_what_they_came_to(
    status: int, verdict: str, came_to: str, shop: Shop
) -> None:
    plans(serves=serves(paths={"/api/orders": status}))(shop.double)
    ended = shop.run(**SUITES)
    event = _last(shop)
    assert (event.verdict, "suites" in event.steps) == (verdict, True), ended.said
    assert (event.detail or "").startswith(f"suites (smoke): orders {came_to}"), event.detail


def test_release_that_could_not_be_checked_is_checked_again_and_not_sent_again(shop: Shop) -> None:
    shop.double.plan = Plan(serves=UNKNOWN)
    first = shop.run(**SUITES)
    assert (first.code, _last(shop).verdict) == (5, "inconclusive"), first.said
    shop.double.served = serves(paths={})(shop.double.served)
    second = shop.run(**SUITES)
    assert (second.code, len(shop.double.received)) == (0, 1), second.said
    assert re.search("nothing changed: .* was verified now", second.said), second.said
    assert "suites" in _last(shop).steps
    third = shop.run(**SUITES)
    assert (third.code, _last(shop).verdict, "suites" in _last(shop).steps) == (0, "unchanged", False), third.said


def _is_promoted(shop: Shop, environ: Mapping[str, str]) -> bool:
    loaded = config.load(shop.root, environ={**shop.environ, **environ})
    try:
        return bool(find_verified(loaded, loaded.environment("staging")))
    except PreflightError:
        return False


def test_release_that_failed_its_suites_is_not_promoted_because_it_was_gone_back_to(shop: Shop) -> None:
    plans(serves=serves(paths={"/api/orders": 500}))(shop.double)
    assert shop.run(**SUITES).code == 13
    back = shop.run("rollback", "5", "--env", "staging", "--auto-confirm", **SUITES)
    assert (back.code, shop.seen(), _last(shop).verdict) == (0, "new", "inconclusive"), back.said
    assert "found release 5 good" in back.said, back.said
    assert not _is_promoted(shop, SUITES)
    loaded = config.load(shop.root, environ=shop.environ)
    assert find_recorded_digest(loaded, loaded.environment("staging")) == shop.double.served.digest
    shop.double.served = serves(paths={})(shop.double.served)
    again = shop.run(**SUITES)
    assert (again.code, len(shop.double.received), _last(shop).verdict) == (0, 1, "healthy"), again.said
    assert _is_promoted(shop, SUITES)


def test_release_that_passed_its_suites_is_promoted_after_it_was_gone_back_to(shop: Shop) -> None:
    shop.double.served = serves(digest=OLDER)(shop.double.served)
    assert shop.run(**SUITES).code == 0
    assert shop.run("rollback", "3", "--env", "staging", "--auto-confirm", **SUITES).code == 0
    assert (_last(shop).verdict, _is_promoted(shop, SUITES)) == ("inconclusive", False)
    back = shop.run("rollback", "5", "--env", "staging", "--auto-confirm", **SUITES)
    assert (back.code, _last(shop).verdict, _last(shop).suites) == (0, "healthy", "smoke"), back.said
    assert (_is_promoted(shop, SUITES), _is_promoted(shop, FULL)) == (True, False)


def test_release_that_passed_fewer_suites_than_are_asked_for_now_is_checked_and_not_sent_again(shop: Shop) -> None:
    for environ, verdict, passed, checked in (
        ({}, "healthy", "off", False),
        (SUITES, "healthy", "smoke", True),
        (FULL, "healthy", "full", True),
        (FULL, "unchanged", "full", False),
        (SUITES, "unchanged", "full", False),
    ):
        assert not checked or not _is_promoted(shop, environ)
        ended, event = shop.run(**environ), _last(shop)
        assert (ended.code, event.verdict, event.suites) == (0, verdict, passed), ended.said
        assert (("suites" in event.steps), _is_promoted(shop, environ)) == (checked, True), ended.said
    assert len(shop.double.received) == 1


def test_other_services_follow_where_the_suites_could_not_be_checked(shop: Shop) -> None:
    shop.double.serve_release(4, OLD, service=WORKER)
    shop.double.plan, shop.double.worker_plan = Plan(serves=UNKNOWN), Plan()
    ended = shop.run(**SUITES, **{f"{STAGING}SERVICES": "web=shop,worker=shop-worker"})
    assert (ended.code, len(shop.double.received)) == (5, 2), ended.said


def test_suites_of_another_verification_leave_it_open_whether_these_pass(
    shop: Shop, record_property: Callable[[str, object], None]
) -> None:
    loaded = config.load(shop.root, environ=shop.environ)
    with hold_turn(loaded, shop.double.public_url):
        ended = shop.run(**SUITES)
    tell(record_property, "the suites run there already", ended, shop.seen(), expected="5, new")
    assert (ended.code, shop.seen()) == (5, "new"), ended.said
    assert "the suites are run on" in ended.said


def test_nothing_is_sent_where_the_account_is_missing(shop: Shop) -> None:
    ended = shop.run(**{f"{STAGING}SUITES": "full", "VERIFY_EMAIL": "", "VERIFY_PASSWORD": ""})
    assert (ended.code, shop.double.received, shop.double.asked["up"]) == (17, [], 0), ended.said


def test_plan_names_the_step_and_what_is_missing_for_it(shop: Shop) -> None:
    plain = shop.run("deploy", "--env", "staging", "--dry")
    assert "verify, record" in plain.said, plain.said
    whole = shop.run("deploy", "--env", "staging", "--dry", **SUITES)
    assert (whole.code, "verify, suites (smoke), record" in whole.said) == (0, True), whole.said
    missing = shop.run("deploy", "--env", "staging", "--dry", "--json", **SUITES | {"VERIFY_PASSWORD": ""})
    facts = json.loads(missing.said[missing.said.index("{") : missing.said.rindex("}") + 1])
    assert (missing.code, facts["suites"]) == (17, "smoke")
    assert [one.partition(":")[0] for one in facts["problems"]] == ["VERIFY_PASSWORD is not set"]


@pytest.mark.parametrize(("status", "code", "serving"), [(200, 0, "new"), (500, 13, "earlier"), (501, 5, "new")])
def test_promotion_runs_the_suites_of_the_environment_that_it_goes_to(
    status: int, code: int, serving: str, shop: Shop, record_property: Callable[[str, object], None]
) -> None:
    assert shop.run().code == 0
    with RailwayDouble() as production:
        production.serve_release(4, OLD, revision=shop.head)
        production.plan = Plan(serves=serves(paths={"/api/orders": status}))
        places = {"URL": production.public_url, "API_URL": production.api_url, "SUITES": "smoke"}
        environ = ACCOUNT | {f"FAIRLEAD_ENVIRONMENTS_PRODUCTION_{name}": value for name, value in places.items()}
        refused = shop.run("promote", "--auto-confirm", **environ | {"VERIFY_EMAIL": ""})
        ended = shop.run("promote", "--auto-confirm", **environ)
        seen = "earlier" if production.served.digest == OLD else "new"
    tell(record_property, f"a promotion whose suite gets {status}", ended, seen, expected=f"{code}, {serving}")
    assert (refused.code, "VERIFY_EMAIL is not set" in refused.said) == (17, True), refused.said
    assert (ended.code, seen) == (code, serving), ended.said
