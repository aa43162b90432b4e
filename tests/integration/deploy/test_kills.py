"""A deploy that is interrupted, ended or killed at each of its steps, and the next one, which recovers from that."""

import contextlib
import re
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pytest

from fairlead import config
from fairlead._polling import wait_until
from fairlead.exceptions import LockedError
from fairlead.verification import hold_turn
from tests.integration.deploy.railway_double import OLD, RailwayDouble
from tests.integration.deploy.rows import ROLLBACK, STRANGE, SUITES, WATCH, serves
from tests.integration.deploy.script import Plan
from tests.integration.deploy.shop import PATIENCE, Ended, Shop, tell

#: How long a deployment that was left behind goes on, in seconds, while the next deploy stands before it.
_GOES_ON_FOR = 0.3
_ENDS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -signal.SIGKILL}


#: Plants where a deploy is to be held; returns how to wait for that, and what the platform does once it was killed.
Reach = Callable[[RailwayDouble], tuple[Callable[[], None], Callable[[], None]]]


@dataclass(frozen=True, slots=True)
class Step:
    """Where a deploy is when the signal comes.

    `serves` is what the public URL serves then, `says` a pattern of what the next deploy tells, `sends` whether that
    one sends the bundle again. `again` is the environment of that one.
    """

    name: str
    reach: Reach
    serves: str = "earlier"
    says: str = "was broken off"
    sends: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)
    again: Mapping[str, str] = field(default_factory=dict)


def _nothing() -> None: ...


def _hold(operation: str, plan: Plan = Plan()) -> Reach:  # noqa: B008 - frozen
    def reach(double: RailwayDouble) -> tuple[Callable[[], None], Callable[[], None]]:
        double.plan = plan
        return double.hold(operation).wait, _nothing

    return reach


def _taken(double: RailwayDouble) -> tuple[Callable[[], None], Callable[[], None]]:
    double.plan = Plan(hold="BUILDING")
    held = double.hold("up")

    def take() -> None:
        held.release()
        double.wait_for("begun")

    return held.wait, take


def _follow(double: RailwayDouble) -> tuple[Callable[[], None], Callable[[], None]]:
    double.plan = Plan(hold="BUILDING")
    return lambda: double.wait_for("deployment", count=2), _nothing


def _verify(double: RailwayDouble) -> tuple[Callable[[], None], Callable[[], None]]:
    return double.hold("public", when=lambda: double.served.digest != OLD).wait, _nothing


def _suites(double: RailwayDouble) -> tuple[Callable[[], None], Callable[[], None]]:
    held = double.hold("public", path="/api/orders")
    return held.wait, held.release


def _going_back(double: RailwayDouble) -> tuple[Callable[[], None], Callable[[], None]]:
    double.plan, double.rollback_plan = _WRONG, Plan(hold="DEPLOYING")
    return lambda: double.wait_for("rolling back"), _nothing


_BEGUN = r"(?s)was broken off.*deployment-\d"
_WRONG = Plan(serves=serves(digest=STRANGE))
STEPS = (
    Step("before the platform answers", _hold("projectToken")),
    Step("while the bundle is uploaded", _hold("up")),
    Step("once the bundle was taken, before the answer", _taken, sends=False),
    Step("while the deployment is followed", _follow, says=_BEGUN, sends=False),
    Step("while the release is verified", _verify, serves="new", says=_BEGUN, sends=False),
    Step(
        "while its suites run",
        _suites,
        serves="new",
        says=_BEGUN + ".*suite orders: passed",
        sends=False,
        environ=SUITES,
        again=SUITES,
    ),
    Step("while the release is watched", _hold("traffic"), serves="new", says=_BEGUN, sends=False, environ=WATCH),
    Step("before it is rolled back", _hold("deploymentRollback", _WRONG), serves="something else", says=_BEGUN),
    Step("while it is rolled back", _going_back, serves="something else", says=_BEGUN),
)


def _wait_for_suites(shop: Shop) -> None:
    """Wait until no suite runs any more: those of a deploy that was killed keep others out until they have ended."""
    loaded = config.load(shop.root, environ=shop.environ)

    def is_free(_remaining: float) -> bool | None:
        with contextlib.suppress(LockedError), hold_turn(loaded, shop.double.public_url):
            return True
        return None

    wait_until(is_free, timeout=PATIENCE, what="the suites to end", interval=0.05)


@pytest.mark.parametrize("number", [pytest.param(one, id=one.name) for one in _ENDS])
@pytest.mark.parametrize("step", [pytest.param(one, id=one.name) for one in STEPS])
@pytest.mark.usefixtures("impatient")
def test_next_deploy_recovers_from_one_that_was_broken_off(
    step: Step, number: signal.Signals, shop: Shop, record_property: Callable[[str, object], None]
) -> None:
    double = shop.double
    wait, go_on = step.reach(double)
    process = shop.start(**step.environ)
    wait()
    process.send_signal(number)
    broken = shop.finish(process)
    go_on()
    _wait_for_suites(shop)
    double.mend()
    seen, sent = shop.seen(), len(double.received)
    timer = threading.Timer(_GOES_ON_FOR, double.go_on)
    timer.start()
    following = shop.run(**step.again)
    timer.join()
    tell(
        record_property,
        f"{number.name} {step.name}",
        Ended(broken.code, ""),
        f"{seen}; next {following.code}, {shop.seen()}",
        expected=f"{_ENDS[number]}, {step.serves}; next 0, new",
    )
    assert (broken.code, seen) == (_ENDS[number], step.serves), broken.said
    assert (following.code, shop.seen()) == (0, "new"), following.said
    assert re.search(step.says, following.said), following.said
    assert (len(double.received) > sent) == step.sends, following.said
    assert "Traceback" not in broken.said + following.said


@pytest.mark.parametrize(
    ("act", "codes", "serving"),
    # By then the release serves that it was to go back to, and may be none that can be gone back to.
    [((), (0,), "new"), (ROLLBACK, (0, 17), "release 3")],
    ids=["deploy", "rollback"],
)
@pytest.mark.usefixtures("impatient")
def test_next_act_recovers_from_a_rollback_that_was_killed(
    act: tuple[str, ...],
    codes: tuple[int, ...],
    serving: str,
    shop: Shop,
    record_property: Callable[[str, object], None],
) -> None:
    double = shop.double
    double.rollback_plan = Plan(hold="DEPLOYING")
    process = shop.start(*ROLLBACK)
    double.wait_for("deployment", count=2)
    process.kill()
    shop.finish(process)
    seen = shop.seen()
    double.mend()
    timer = threading.Timer(_GOES_ON_FOR, double.go_on)
    timer.start()
    following = shop.run(*act)
    timer.join()
    told = f"{seen}; next {following.code}, {shop.seen()}"
    name = f"SIGKILL while it is rolled back on purpose, then a {'rollback' if act else 'deploy'}"
    tell(record_property, name, Ended(-9, ""), told, expected=f"-9, earlier; next {codes[-1]}, {serving}")
    assert (seen, shop.seen()) == ("earlier", serving), following.said
    assert following.code in codes, following.said
    assert re.search("was broken off", following.said), following.said
