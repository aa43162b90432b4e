"""Watches a new release after it took over: its errors and latency against those of the release before.

The figures are the platform's own. Besides, the public URL is asked at every look, so that a release that crashes or
loses its digest after a while is seen also where nobody else asks it anything.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from fairlead.config import Config
from fairlead.deploy.following import look
from fairlead.deploy.releases import read_release, read_releases
from fairlead.deploy.reporting import Reporter
from fairlead.deploy.target import Target
from fairlead.exceptions import AuthenticationError, DeployError, PlatformError
from fairlead.railway import Deployment, Traffic
from fairlead.verification import Comparison, Judgement, Verdict, Window

#: How long one window of traffic is, in seconds, at the least and at the most: on the local platform and on Railway.
_LOCAL_STEPS: Final = (1, 1)
_RAILWAY_STEPS: Final = (5, 30)
#: How many windows a watch has at the least, so that there are enough of them to judge latency by.
_WINDOWS: Final = 8
#: How often the public URL is asked, in seconds, at the least.
_PAUSE: Final = 3.0
#: How long after the end of a window its figures are asked for, in seconds.
_SETTLING: Final = 0.03
#: How far back, in seconds, the release before is looked at, at the least.
_BEFORE: Final = 600.0
#: How many looks in a row may reach nobody; one that finds the release unhealthy all the while is enough.
_UNREACHED: Final = 3

#: Fetches what a release answered: from and until when, and in steps of how many seconds.
Fetch = Callable[[datetime, datetime, int], Sequence[Traffic]]


def fetch_service(target: Target) -> Fetch:
    """Return how to fetch what the web service answered, whichever release did."""

    def fetch(since: datetime, until: datetime, step: int) -> Sequence[Traffic]:
        return target.client.fetch_traffic(
            environment_id=target.environment_id, service_id=target.web.id, since=since, until=until, step=step
        )

    return fetch


def fetch_release(target: Target, deployment_id: str) -> Fetch:
    """Return how to fetch what one release answered beside others; the local platform alone can tell."""

    def fetch(since: datetime, until: datetime, step: int) -> Sequence[Traffic]:
        return target.client.fetch_release_traffic(
            deployment_id,
            project_id=target.project_id,
            environment_id=target.environment_id,
            since=since,
            until=until,
            step=step,
        )

    return fetch


def fetch_same(target: Target, deployment: Deployment) -> Fetch:
    """Return how to fetch what a bundle answered, under whichever of its deployments it ran; locally only."""
    release = read_release(deployment)
    known = {one.deployment_id: one.digest for one in read_releases(target.deployments())}
    same = [name for name, digest in known.items() if release is not None and digest == release.digest]
    fetches = [fetch_release(target, name) for name in same or [deployment.id]]

    def fetch(since: datetime, until: datetime, step: int) -> Sequence[Traffic]:
        return [one for each in fetches for one in each(since, until, step)]

    return fetch


class Watch:
    """One watch of `seconds`, begun when the new release took over.

    `before` and `after` fetch what the two releases answered; `beside` says that both serve at once, as with a canary.
    """

    def __init__(
        self,
        config: Config,
        target: Target,
        *,
        digest: str,
        seconds: float,
        before: Fetch,
        after: Fetch,
        beside: bool = False,
        deployment_id: str | None = None,
    ) -> None:
        self._config = config
        self._target = target
        self._digest = digest
        self._seconds = seconds
        self._before, self._after, self._beside = before, after, beside
        self._deployment_id = deployment_id
        least, most = _LOCAL_STEPS if target.local else _RAILWAY_STEPS
        self._step = max(least, min(most, int(seconds / _WINDOWS)))
        self._unreached = 0

    def run(self, reporter: Reporter) -> Judgement:
        """Watch to the end and judge; raise `DeployError` as soon as the release is known to be worse or not well.

        A judgement that is returned is healthy or inconclusive.
        """
        exact = time.time()
        began, started = int(exact), time.monotonic()
        comparison = Comparison(self._fetch_baseline(began))
        judged_until = began
        judgement = comparison.conclude()
        while True:
            elapsed = time.monotonic() - started
            # Until the next window is whole, and not since the last that could be fetched: what fails is not hurried.
            whole_in = self._step - (exact + elapsed - began) % self._step + _SETTLING
            time.sleep(max(min(self._seconds - elapsed, whole_in, _PAUSE), 0.0))
            elapsed = time.monotonic() - started
            now = int(exact + elapsed)
            self._look()
            whole = judged_until + (now - judged_until) // self._step * self._step
            try:
                windows = self._fetch(judged_until, whole)
            except AuthenticationError:
                raise
            except PlatformError as error:
                # It is asked for the same windows again; what stays unknown is never judged good.
                judgement = replace(comparison.conclude(), verdict=Verdict.INCONCLUSIVE, reason=error.message)
            else:
                judged_until = whole
                for window, beside in windows:
                    judgement = comparison.add(window, beside=beside)
                    if judgement.verdict is Verdict.UNHEALTHY:
                        raise DeployError(f"the new release is worse than the one before: {judgement.reason}")
            reporter.log(f"watched {min(now - began, self._seconds):.0f} of {self._seconds:g} s: {judgement.reason}")
            if elapsed >= self._seconds:
                return self._end(judgement)

    def _look(self) -> None:
        report = look(
            self._config,
            self._target,
            digest=self._digest,
            confirmations=1,
            timeout=5.0,
            deployment_id=self._deployment_id,
        )
        self._unreached = self._unreached + 1 if report.verdict is Verdict.INCONCLUSIVE else 0
        if report.verdict is Verdict.UNHEALTHY or self._unreached >= _UNREACHED:
            raise DeployError(f"the new release did not stay well: {report.reason}")

    def _end(self, judgement: Judgement) -> Judgement:
        """Take a judgement for what it is worth when the last look reached nobody."""
        if judgement.verdict is Verdict.HEALTHY and self._unreached:
            return replace(judgement, verdict=Verdict.INCONCLUSIVE, reason="the public URL cannot be reached any more")
        return judgement

    def _fetch_baseline(self, began: int) -> list[Window]:
        """Fetch what the release before answered; nothing where the platform cannot say, which is never judged good."""
        if self._beside:
            return []
        since = began - int(max(_BEFORE, self._seconds)) // self._step * self._step
        try:
            found = self._before(_moment(since), _moment(began), self._step)
        except AuthenticationError:
            raise
        except PlatformError:
            return []
        return [_window(one) for one in found if one.at + self._step <= began]

    def _fetch(self, since: int, until: int) -> list[tuple[Window, Window | None]]:
        """Fetch the windows between two moments, which are whole steps apart."""
        if until <= since:
            return []
        period = (_moment(since), _moment(until), self._step)
        found = {one.at: _window(one) for one in self._after(*period) if one.at < until}
        if not self._beside:
            return [(window, None) for _, window in sorted(found.items())]
        others = {one.at: _window(one) for one in self._before(*period) if one.at < until}
        nothing = Window(0, 0, None)
        return [(found.get(at, nothing), others.get(at, nothing)) for at in sorted({*found, *others})]


def _window(traffic: Traffic) -> Window:
    return Window(traffic.requests, min(traffic.errors, traffic.requests), traffic.p95)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
