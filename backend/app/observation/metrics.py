"""Owns the figures of this process, as Prometheus reads them."""

import functools
import re
from collections.abc import Mapping
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Counter, Gauge, Histogram, generate_latest
from starlette.types import Scope

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_PARAMETER = re.compile(r"\{(\w+):\w+\}")


class Metrics:
    """Counts requests and logins, and tells the state of the connections. There is one for a process."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._in_flight = Gauge("maya_requests_in_flight", "Requests that are being answered now.")
        self._in_flight.set_function(lambda: self.in_flight)
        self.logins = Counter("maya_logins", "Attempts to log in by how they ended.", ["outcome"])
        self.limited = Counter("maya_requests_limited", "Requests refused by a rate limit.", ["limit"])
        self.webhooks = Counter("maya_webhooks", "Messages of vendors by what became of them.", ["vendor", "outcome"])
        self._reminders = Gauge(
            "maya_reminders", "Reminders that are overdue, and those of the last day that failed.", ["state"]
        )
        self._requests = Counter("maya_requests", "Requests that were answered.", ["method", "route", "status"])
        self._seconds = Histogram(
            "maya_request_seconds", "How long answers took.", ["method", "route"], buckets=_BUCKETS
        )
        self._connections = Gauge("maya_database_connections", "Connections to the database.", ["pool", "state"])
        self._build = Gauge("maya_build_info", "Which build this is; always 1.", ["version", "revision"])
        # The labels of a request are few and always the same, and finding their child costs more than counting.
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count_request(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer by method, route (never its path, which anyone may make up) and kind of status."""
        key = (scope["method"], find_route(scope), status // 100)
        known = self._children.get(key)
        if known is None:
            method = key[0] if key[0] in _METHODS else "OTHER"
            counter = self._requests.labels(method, key[1], f"{key[2]}xx")
            known = (counter, self._seconds.labels(method, key[1]))
            if method == key[0]:
                self._children[key] = known
        known[0].inc()
        known[1].observe(seconds)

    def tell_connections(self, pool: str, *, in_use: int, idle: int) -> None:
        """Note how many connections of a pool are in use and how many wait."""
        self._connections.labels(pool, "in_use").set(in_use)
        self._connections.labels(pool, "idle").set(idle)

    def tell_reminders(self, states: Mapping[str, int]) -> None:
        """Note how many reminders need somebody's attention, by state; none, where nobody could look."""
        self._reminders.clear()
        for state, count in states.items():
            self._reminders.labels(state).set(count)

    def tell_build(self, version: str, revision: str | None) -> None:
        """Note which build runs."""
        self._build.clear()
        self._build.labels(version, revision or "unknown").set(1)


def find_route(scope: Scope) -> str:
    """Return the template of the route that answered: /api/bookings/{booking_id}; `none` when there was none."""
    path = getattr(scope.get("route"), "path", None)
    return _describe_route(path) if isinstance(path, str) and path else "none"


@functools.cache
def _describe_route(path: str) -> str:
    return _PARAMETER.sub(r"{\1}", path)


def render() -> bytes:
    """Return every figure of this process in Prometheus' text format."""
    return generate_latest(REGISTRY)


METRICS = Metrics()
