"""What a row of the table cannot say: two deploys at once, a full disk, a clock set back, a verdict never given."""

import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import pytest

from fairlead.history import History
from tests.integration.deploy.railway_double import OLD
from tests.integration.deploy.rows import STAGING, WATCH, always, plans, serves
from tests.integration.deploy.script import WORKER, Plan
from tests.integration.deploy.shop import PATIENCE, Ended, Shop, tell
from tests.integration.deploy.sockets import refuse

Note = Callable[[str, object], None]


def check(
    note: Note, fault: str, shop: Shop, ended: Ended, *codes: int, serving: str = "earlier", says: str = ""
) -> None:
    """Note a row of the table and hold it against what should be."""
    seen = shop.seen()
    tell(note, fault, ended, seen, expected=f"{' or '.join(map(str, codes))}, {serving}")
    assert ended.code in codes, ended.said
    assert seen == serving, ended.said
    assert says in ended.said, ended.said
    assert "Traceback" not in ended.said


# --- Two at once ---


@pytest.mark.usefixtures("impatient")
def test_of_two_deploys_at_once_one_proceeds(shop: Shop, record_property: Note) -> None:
    shop.double.plan = Plan(hold="BUILDING")
    first = shop.start()
    shop.double.wait_for("deployment")
    second = shop.run()
    check(record_property, "two deploys at once: the second", shop, second, 15, says=f"process {first.pid}")
    shop.double.go_on()
    assert shop.finish(first).code == 0
    assert len(shop.double.received) == 1


def test_of_two_deploys_begun_together_one_proceeds(shop: Shop, record_property: Note) -> None:
    held = shop.double.hold("projectToken")
    processes = [shop.start(), shop.start()]
    held.wait()
    early = next(process for process in _until_one_ends(processes))
    held.release()
    ended = {process.pid: shop.finish(process) for process in processes}
    refused = ended.pop(early.pid)
    check(record_property, "two deploys begun together: the later", shop, refused, 15, serving="new", says="locked by")
    assert [one.code for one in ended.values()] == [0], ended
    assert len(shop.double.received) == 1


def _until_one_ends(processes: list[object]) -> list[object]:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if ended := [process for process in processes if process.poll() is not None]:
            return ended
        time.sleep(0.02)
    raise AssertionError("neither of two deploys begun together was refused")


@pytest.mark.usefixtures("impatient")
def test_a_deploy_from_another_machine_is_refused_while_one_is_in_flight(
    shop: Shop, record_property: Note, tmp_path_factory: pytest.TempPathFactory
) -> None:
    shop.double.plan = Plan(hold="BUILDING")
    first = shop.start()
    shop.double.wait_for("deployment")
    elsewhere = shop.run(FAIRLEAD_STATE_DIRECTORY=str(tmp_path_factory.mktemp("elsewhere")))
    check(record_property, "two deploys from two machines: the second", shop, elsewhere, 15, says="deployment-3")
    shop.double.go_on()
    assert shop.finish(first).code == 0


# --- The disk and the clock ---


def test_full_disk_before_anything_is_sent(shop: Shop, record_property: Note) -> None:
    ended = shop.finish(shop.start(before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))))
    check(record_property, "full disk", shop, ended, 12, 17, says="free some space")
    assert shop.double.received == []


@pytest.mark.parametrize(
    ("statuses", "code", "serving"), [((), 0, "new"), (("BUILDING", "FAILED"), 13, "earlier")], ids=["well", "failed"]
)
@pytest.mark.usefixtures("impatient")
def test_history_that_cannot_be_written_changes_no_verdict(
    statuses: tuple[str, ...], code: int, serving: str, shop: Shop, record_property: Note
) -> None:
    (shop.state / "history.jsonl").mkdir(parents=True)
    plans(*statuses)(shop.double)
    ended = shop.run()
    fault = f"the history cannot be written, the deploy ends {'well' if code == 0 else 'badly'}"
    check(record_property, fault, shop, ended, code, serving=serving, says="history")


@pytest.mark.parametrize(("statuses", "code", "serving"), [((), 0, "new"), (("BUILDING",), 13, "earlier")])
@pytest.mark.usefixtures("impatient")
def test_clock_set_back_moves_no_deadline(
    statuses: tuple[str, ...],
    code: int,
    serving: str,
    shop: Shop,
    record_property: Note,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plans(*statuses)(shop.double)
    real, began = time.time, time.monotonic()
    monkeypatch.setattr(time, "time", lambda: real() - 3600 * (time.monotonic() - began))
    ended = shop.run(FAIRLEAD_DEPLOY_TIMEOUT="1.5")
    fault = f"clock set back again and again, the deploy ends {'well' if code == 0 else 'never'}"
    check(record_property, fault, shop, ended, code, serving=serving)
    (event,) = History(shop.state).load()
    assert 0 < (event.duration or 0) < time.monotonic() - began
    assert all(seconds >= 0 for seconds in event.steps.values())


# --- Whoever watches ---


@pytest.mark.parametrize(("statuses", "code", "serving"), [((), 0, "new"), (("BUILDING", "FAILED"), 13, "earlier")])
def test_deploy_goes_on_when_nobody_reads_its_output(
    statuses: tuple[str, ...], code: int, serving: str, shop: Shop, record_property: Note
) -> None:
    plans(*statuses, build_logs=("one line", "and another"))(shop.double)
    held = shop.double.hold("deployment")
    process = shop.start()
    held.wait()
    assert process.stdout is not None
    process.stdout.close()
    process.stdout = None
    held.release()
    ended = Ended(process.wait(PATIENCE), "")
    fault = f"whoever reads its output goes away, the deploy ends {'well' if code == 0 else 'badly'}"
    check(record_property, fault, shop, ended, code, serving=serving)
    assert [event.verdict for event in History(shop.state).load()] == ["failed" if code else "healthy"]


def test_platform_cannot_write_on_the_terminal_as_it_likes(shop: Shop) -> None:
    shop.double.plan = Plan(
        build_logs=("\x1b[2J\x1b]0;owned\x07 \x9b31m done\r",), statuses=("FAILED",), diagnosis="\x1b[2J"
    )
    said = shop.run().said
    assert "done" in said
    assert [letter for letter in said if not letter.isprintable() and letter != "\n"] == []


# --- Verdicts that were never given ---


_SMOKE = Plan(serves=serves(paths={"/api/smoke": 500}))
_ERRORS = Plan(serves=serves(errors=0.05))


@dataclass(frozen=True, slots=True)
class Unjudged:
    """A bad release whose deploy is killed before it can see that: where, and how the next deploy sees it."""

    name: str
    plan: Plan
    says: str
    environ: Mapping[str, str] = field(default_factory=dict)
    held: str = "public"


_UNJUDGED = (
    Unjudged("killed while it verified, its smoke test fails", _SMOKE, "smoke"),
    Unjudged("the same, with a worker to come", _SMOKE, "smoke", {f"{STAGING}SERVICES": "web=shop,worker=shop-worker"}),
    Unjudged("killed while it was watched, 5 % errors", _ERRORS, "worse", WATCH, "traffic"),
)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in _UNJUDGED])
@pytest.mark.usefixtures("impatient")
def test_release_whose_verification_was_broken_off_is_not_taken_for_verified(
    case: Unjudged, shop: Shop, record_property: Note
) -> None:
    double = shop.double
    double.serve_release(4, OLD, service=WORKER)
    double.plan = case.plan
    held = double.hold(case.held, when=lambda: double.served.digest != OLD)
    process = shop.start(**case.environ)
    held.wait()
    process.kill()
    shop.finish(process)
    double.mend()
    double.plan = case.plan
    ended = shop.run(**case.environ)
    seen = shop.seen()
    check(record_property, f"{case.name}: the next deploy", shop, ended, 13, 14, serving=seen, says=case.says)
    assert (ended.code == 13) == (seen == "earlier"), "13 is said only where the release before serves"
    assert History(shop.state).load()[-1].verdict in {"failed", "unsafe"}


@pytest.mark.usefixtures("impatient")
def test_release_that_nobody_could_judge_is_not_taken_for_unchanged(shop: Shop, record_property: Note) -> None:
    watched = {f"{STAGING}WATCH": "2"}
    always("traffic", refuse("Odd"))(shop.double)
    assert shop.run(**watched).code == 5
    again = shop.run(**watched)
    check(record_property, "inconclusive, and deployed again", shop, again, 5, serving="new")
    assert json.loads((shop.state / "history.jsonl").read_text().splitlines()[-1])["verdict"] == "inconclusive"


@pytest.mark.usefixtures("impatient")
def test_deploy_that_has_nothing_to_change_says_so(shop: Shop, record_property: Note) -> None:
    assert shop.run().code == 0
    again = shop.run()
    check(record_property, "nothing changed", shop, again, 0, serving="new", says="nothing changed")
    shop.double.served = replace(shop.double.served, healthy=False)
    (before,) = {len(shop.double.received)}
    assert shop.run().code == 0
    assert len(shop.double.received) == before + 1, "what is not well is deployed again"
