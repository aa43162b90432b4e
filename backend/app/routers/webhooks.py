"""Owns what vendors tell the backend by themselves."""

from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Header, Request

from app.dependencies import PartsDependency, SessionDependency
from app.errors import ApiError
from app.models.payments import WebhookReceipt
from app.observation.metrics import METRICS
from app.services.stripe_events import apply_event
from app.services.stripe_service import InvalidSignatureError, deactivate_links

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])


@router.post(
    "/stripe",
    responses={
        400: {"description": "The signature is wrong or older than five minutes (`invalid_signature`)."},
        413: {"description": "The message is too large."},
        503: {"description": "Stripe is not configured here, or the service is not available at the moment."},
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "An event, as Stripe sends it.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
)
async def take_stripe_event(
    request: Request,
    session: SessionDependency,
    parts: PartsDependency,
    background: BackgroundTasks,
    stripe_signature: Annotated[str, Header(description="Stripe's signature of the body.")] = "",
) -> WebhookReceipt:
    """Take a message of Stripe, signed by one of the configured secrets. The same message again changes nothing."""
    links = parts.links
    if links is None or not links.takes_events:
        raise ApiError(
            503,
            "payments_not_configured",
            "This service is not connected to Stripe.",
            action="Set STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET where the service runs.",
        )
    # The signature covers the bytes as they were sent.
    body = await request.body()
    try:
        event = links.read_event(body, stripe_signature)
    except InvalidSignatureError:
        METRICS.webhooks.labels("stripe", "refused").inc()
        raise ApiError(
            400,
            "invalid_signature",
            "This is not a message that Stripe signed within the last five minutes.",
            action="Compare STRIPE_WEBHOOK_SECRET with the endpoint's signing secret, and the clock.",
        ) from None
    effect = await apply_event(session, event)
    METRICS.webhooks.labels("stripe", effect.outcome).inc()
    if effect.link_ids:
        background.add_task(deactivate_links, links, effect.link_ids)
    return WebhookReceipt()
