"""When a watch looks, on a clock of its own: as soon as a window is whole, no more often, and to the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import cast

import pytest

from fairlead.config import Config
from fairlead.deploy import watch
from fairlead.deploy.reporting import Reporter
from fairlead.deploy.target import Target
from fairlead.exceptions import DeployError, PlatformError
from fairlead.railway import Traffic
from fairlead.verification import Report, Verdict

#: What the looks themselves take, in seconds.
TAKES = 0.02
STARTS = [1_000_000.0, 1_000_000.5, 1_000_000.98]


@dataclass
class Platform:
    """A clock, and what the platform says on it: when it was looked at, and until when figures were asked for."""

    now: float
    fails: bool = False
    bad_from: float = float("inf")
    looks: list[float] = field(default_factory=list)
    asked: list[tuple[float, float]] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds

    def look(self, *_: object, **__: object) -> Report:
        self.looks.append(self.now)
        self.now += TAKES
        return Report(Verdict.HEALTHY, "well", ())

    def fetch(self, since: datetime, until: datetime, step: int) -> Sequence[Traffic]:
        begin, end = int(since.timestamp()), int(until.timestamp())
        self.asked.append((self.now, end))
        if self.fails:
            raise PlatformError("no figures")
        windows = range(begin, end, step)
        return [Traffic(at, 100, 20 if at >= self.bad_from else 0, 0.01) for at in windows]


@pytest.fixture(params=STARTS)
def platform(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Platform:
    made = Platform(now=request.param)
    clock = SimpleNamespace(time=lambda: made.now, monotonic=lambda: made.now - 77.7, sleep=made.sleep)
    monkeypatch.setattr(watch, "time", clock)
    monkeypatch.setattr(watch, "look", made.look)
    return made


def start(platform: Platform, *, seconds: float, local: bool) -> watch.Watch:
    target = cast("Target", SimpleNamespace(local=local))
    return watch.Watch(
        cast("Config", None),
        target,
        digest="sha256:1",
        seconds=seconds,
        before=platform.fetch,
        after=platform.fetch,
    )


REPORTER = cast("Reporter", SimpleNamespace(log=lambda _line: None))


@pytest.mark.parametrize(("local", "seconds"), [(True, 1.5), (True, 12.0), (False, 60.0), (False, 301.5)])
def test_a_watch_lasts_as_long_as_it_was_asked_to(platform: Platform, *, local: bool, seconds: float) -> None:
    began = platform.now
    start(platform, seconds=seconds, local=local).run(REPORTER)
    assert platform.looks[-1] - began == pytest.approx(seconds, abs=0.1)


def test_each_window_is_judged_as_soon_as_it_is_whole(platform: Platform) -> None:
    start(platform, seconds=12, local=True).run(REPORTER)
    late = [at - end for at, end in platform.asked[1:]]
    assert len(late) >= 11
    assert max(late[:-1]) < 0.1  # the last look comes when the time is over


def test_a_bad_release_is_stopped_with_the_window_that_condemns_it(platform: Platform) -> None:
    platform.bad_from = int(platform.now) + 1
    with pytest.raises(DeployError, match="worse than the one before"):
        start(platform, seconds=60, local=True).run(REPORTER)
    assert platform.now - platform.asked[-1][1] < 0.1


def test_a_platform_without_figures_is_asked_no_more_often_than_one_with_them(platform: Platform) -> None:
    platform.fails = True
    judgement = start(platform, seconds=30, local=True).run(REPORTER)
    assert (judgement.verdict, judgement.reason) == (Verdict.INCONCLUSIVE, "no figures")
    assert len(platform.looks) <= 32
