"""Owns what is reported to Sentry: errors, scrubbed of secrets and of what was asked.

The library is imported only where a DSN is configured.
"""

from typing import TYPE_CHECKING, Any, Final

from app.build_info import UNKNOWN, BuildInfo
from app.logs import caller, redact, request_id
from app.settings import Settings

if TYPE_CHECKING:
    from sentry_sdk.integrations import Integration
    from sentry_sdk.types import Event, Hint

#: Seconds that a stopping process gives what was not sent yet.
_FLUSH_WITHIN: Final = 2.0
#: A database that is gone fails every request: `/api/health` and the log tell of it, once for each is no use.
_IGNORED: Final = ("app.errors", "app.services.health")
#: What of a request is told; its address carries codes and states of OAuth, its headers and body carry secrets.
_TOLD_OF_REQUESTS: Final = ("method",)
_DEEPEST: Final = 30


def start_reporting(settings: Settings, build: BuildInfo) -> None:
    """Report this process's errors from now on, if a DSN is configured."""
    dsn = settings.sentry_dsn.get_secret_value()
    if not dsn:
        return
    import sentry_sdk
    from sentry_sdk.integrations.logging import ignore_logger

    for name in _IGNORED:
        ignore_logger(name)
    sentry_sdk.init(
        dsn=dsn,
        environment=settings.environment,
        release=_name_release(build),
        traces_sample_rate=settings.sentry_traces_sample_rate or None,
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=_integrations(traced=settings.sentry_traces_sample_rate > 0),
        before_send=_scrub,
        before_send_transaction=_scrub,
    )


def stop_reporting(settings: Settings) -> None:
    """Send what is left, within two seconds; blocks for as long."""
    if settings.sentry_dsn.get_secret_value():
        import sentry_sdk

        sentry_sdk.flush(timeout=_FLUSH_WITHIN)


def _name_release(build: BuildInfo) -> str | None:
    if build.version == UNKNOWN:
        return None
    return f"{build.name}@{build.version}" + (f"+{build.revision}" if build.revision else "")


def _integrations(*, traced: bool) -> "list[Integration]":
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.excepthook import ExcepthookIntegration
    from sentry_sdk.integrations.fastapi import FastApiIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration
    from sentry_sdk.integrations.starlette import StarletteIntegration

    chosen: list[Integration] = [LoggingIntegration(), DedupeIntegration(), ExcepthookIntegration()]
    if traced:
        chosen += [StarletteIntegration(transaction_style="url"), FastApiIntegration(transaction_style="url")]
    return chosen


def _scrub(event: "Event", _hint: "Hint") -> "Event":
    """Return an event without secrets, with the ids by which it is found in the log."""
    request = event.get("request")
    if request is not None:
        event["request"] = {name: request[name] for name in _TOLD_OF_REQUESTS if name in request}
    scrubbed: Event = _redacted(event)
    identity = caller.get()
    scrubbed["user"] = {"id": str(identity.user_id)} if identity is not None else {}
    tags = dict(scrubbed.get("tags") or {})
    if identity is not None:
        tags["tenant_id"] = str(identity.tenant_id)
    if (current := request_id.get()) is not None:
        tags["request_id"] = current
    scrubbed["tags"] = tags
    return scrubbed


def _redacted(value: Any, depth: int = 0) -> Any:
    if isinstance(value, str):
        return redact(value)
    if depth > _DEEPEST:
        return "…"
    if isinstance(value, dict):
        return {name: _redacted(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_redacted(member, depth + 1) for member in value]
    return value
