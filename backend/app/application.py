"""Owns how an application is put together from its settings."""

import contextlib
import logging
from collections.abc import AsyncIterator

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp

from app.build_info import BuildInfo, load_build_info
from app.db import Database, DatabaseUnavailableError
from app.dependencies import Parts
from app.errors import install_handlers
from app.middleware import BodyLimitMiddleware, RequestContextMiddleware, StartupErrorMiddleware
from app.routers import auth, business, health, version
from app.security import Passwords, Tokens
from app.services.auth import Authenticator
from app.services.throttle import FailureThrottle
from app.settings import Settings, load_settings

logger = logging.getLogger(__name__)

_LARGEST_BODY = 64 * 1024
_DOCS = "/docs"
_OPENAPI = "/openapi.json"


class Application(FastAPI):
    """FastAPI with the middleware outside everything, so that no answer escapes without its headers."""

    def build_middleware_stack(self) -> ASGIApp:
        """Wrap the framework's own stack, error answers included."""
        parts: Parts = self.state.parts
        stack: ASGIApp = BodyLimitMiddleware(super().build_middleware_stack(), limit=_LARGEST_BODY)
        if parts.settings.cors_origins:
            stack = CORSMiddleware(
                stack,
                allow_origins=parts.settings.cors_origins,
                allow_methods=("GET", "POST", "PUT"),
                allow_headers=("Authorization", "Content-Type", "X-Request-ID"),
                expose_headers=("X-Request-ID", "Retry-After"),
            )
        in_development = parts.settings.environment == "development"
        stack = RequestContextMiddleware(
            stack, strict_transport=not in_development, pages=frozenset({_DOCS}) if in_development else frozenset()
        )
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
        openapi_url=_OPENAPI if in_development else None,
    )
    app.state.parts = _make_parts(settings, build)
    install_handlers(app)
    for module in (health, version, auth, business):
        app.include_router(module.router)
    return app


def _make_parts(settings: Settings, build: BuildInfo) -> Parts:
    authenticator = Authenticator(
        passwords=Passwords(),
        tokens=Tokens(settings.jwt_secret_key.get_secret_value(), lifetime=settings.jwt_expiry_seconds),
        throttle=FailureThrottle(limit=settings.login_failure_limit, window=settings.login_failure_window),
    )
    return Parts(settings=settings, build=build, database=Database(settings), authenticator=authenticator)


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    parts: Parts = app.state.parts
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
        yield
    finally:
        await parts.database.close()
