"""Owns how an application is put together from its settings."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp

from app.build_info import BuildInfo, load_build_info
from app.db import Database, DatabaseUnavailableError
from app.dependencies import Parts
from app.errors import install_handlers
from app.middleware import (
    HEADERS_STATE,
    BodyLimitMiddleware,
    CrossOriginMiddleware,
    LimitsMiddleware,
    RequestContextMiddleware,
    StartupErrorMiddleware,
    make_headers,
)
from app.observation.errors import stop_reporting
from app.observation.tracing import make_tracing
from app.observation.vendors import CALLS
from app.openapi import complete_document
from app.routers import (
    assistant,
    auth,
    bookings,
    business,
    calendar,
    health,
    metrics,
    oauth,
    payments,
    version,
    webhooks,
)
from app.security import Passwords, Tokens
from app.services.assistant import connect_assistant
from app.services.auth import Authenticator
from app.services.calendar import make_calendars
from app.services.counting import Counts, make_counts
from app.services.health import HealthMonitor, check_integrations, find_expected
from app.services.payments import PaymentRequests
from app.services.rates import RateLimit
from app.services.reminders import count_reminders
from app.services.stripe_service import connect
from app.services.throttle import FailureThrottle
from app.services.twilio_service import TwilioService
from app.settings import ROOT, Settings, load_settings

logger = logging.getLogger(__name__)

_LARGEST_BODY = 64 * 1024
_DOCS = "/docs"
_OPENAPI = "/openapi.json"


class Application(FastAPI):
    """FastAPI with the middleware outside everything, so that no answer escapes without its headers."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document, with the errors that each operation may answer with."""
        if self.openapi_schema is None:
            complete_document(super().openapi())
        return super().openapi()

    def build_middleware_stack(self) -> ASGIApp:
        """Wrap the framework's own stack, error answers included."""
        parts: Parts = self.state.parts
        settings = parts.settings
        stack: ASGIApp = BodyLimitMiddleware(super().build_middleware_stack(), limit=_LARGEST_BODY)
        stack = LimitsMiddleware(
            stack,
            general=RateLimit(parts.counts, settings.rate_limit, policy="requests"),
            login=RateLimit(parts.counts, settings.rate_limit_login, policy="logins"),
        )
        if settings.cors_origins:
            stack = CrossOriginMiddleware(
                stack,
                allow_origins=settings.cors_origins,
                allow_methods=("GET", "POST", "PUT", "DELETE"),
                # A browser keeps the cookie that ties the connecting of a calendar to it only from those it may trust.
                allow_credentials="*" not in settings.cors_origins,
                allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
                expose_headers=("X-Request-ID", "Retry-After", "RateLimit", "RateLimit-Policy", "Location"),
            )
        in_development = settings.environment == "development"
        stack = RequestContextMiddleware(
            stack,
            strict_transport=not in_development,
            pages=frozenset({_DOCS}) if in_development else frozenset(),
            recognise=parts.authenticator.recognise,
        )
        if parts.tracing is not None:
            stack = parts.tracing.wrap(stack)
        return StartupErrorMiddleware(stack, expected=DatabaseUnavailableError)


def create_app(settings: Settings | None = None) -> FastAPI:
    """Put an application together. Connects nowhere; the pool opens when the server starts.

    Without `settings` they are read from the environment. Raise `SettingsError` or `BuildInfoError` when they, or the
    build information they point at, cannot be used.
    """
    settings = settings or load_settings()
    build = load_build_info(settings.build_info)
    in_development = settings.environment == "development"
    app = Application(
        title="MAYA",
        version=build.version,
        lifespan=_lifespan,
        docs_url=_DOCS if in_development else None,
        redoc_url=None,
        # It would send people to whatever host a request names.
        redirect_slashes=False,
        openapi_url=_OPENAPI if in_development else None,
    )
    app.state.parts = _make_parts(settings, build)
    app.state.routes = []
    install_handlers(app)
    for module in (health, version, metrics, auth, business, bookings, payments, webhooks, calendar, oauth, assistant):
        # As they are: an included router is searched twice, and all those before it, at every request.
        app.router.routes += module.router.routes
        app.state.routes += module.router.routes
    return app


def _make_parts(settings: Settings, build: BuildInfo) -> Parts:
    counts = make_counts(settings.redis_url)
    authenticator = Authenticator(
        passwords=Passwords(),
        tokens=Tokens(settings.signing_keys, lifetime=settings.jwt_expiry_seconds),
        throttle=FailureThrottle(counts, limit=settings.login_failure_limit, window=settings.login_failure_window),
    )
    links = connect(settings)
    database = Database(settings)
    return Parts(
        settings=settings,
        build=build,
        database=database,
        authenticator=authenticator,
        counts=counts,
        health=_make_health(settings, build, counts, database),
        tracing=make_tracing(settings, build),
        links=links,
        payment_requests=PaymentRequests(links, reminder_delay=settings.reminder_delay),
        calendars=make_calendars(settings),
        assistant=connect_assistant(settings),
    )


def _make_health(settings: Settings, build: BuildInfo, counts: Counts, database: Database) -> HealthMonitor:
    sends = TwilioService.is_configured(settings)
    return HealthMonitor(
        # A release carries its migrations beside `app/`.
        expected=find_expected([file.name for file in (ROOT / "migrations").glob("*.sql")]),
        version=build.version,
        within=settings.health_timeout,
        cache=settings.health_cache_seconds,
        check_integrations=lambda: check_integrations(settings, CALLS, counts),
        count_reminders=(lambda: count_reminders(database.reads, delay=settings.reminder_delay)) if sends else None,
    )


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    parts: Parts = app.state.parts
    if parts.tracing is not None:
        parts.tracing.follow(parts.database.engine, parts.database.reads)
    try:
        await parts.database.wait_until_ready(within=parts.settings.database_startup_timeout)
        logger.info(
            "ready",
            extra={
                "environment": parts.settings.environment,
                "version": parts.build.version,
                "digest": parts.build.digest,
                "database": parts.database.address,
            },
        )
        if parts.assistant is not None:
            parts.assistant.model.load()
        yield {HEADERS_STATE: make_headers(strict_transport=parts.settings.environment != "development")}
    finally:
        if parts.assistant is not None:
            await parts.assistant.close()
        if parts.links is not None:
            await parts.links.close()
        await parts.calendars.close()
        await parts.counts.close()
        await parts.database.close()
        if parts.tracing is not None:
            await asyncio.to_thread(parts.tracing.stop)
        await asyncio.to_thread(stop_reporting, parts.settings)
