"""Owns what is asked of Stripe, by its own SDK: payment links, and whether a message is Stripe's.

The SDK takes half a second to load, so it is loaded when a `PaymentLinks` is made: where Stripe is configured.
"""

import asyncio
import concurrent.futures
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypedDict, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.money import count_minor_units, parse_amount
from app.observation.vendors import CALLS, Outcome
from app.settings import Settings, load_settings

logger = logging.getLogger(__name__)

_Found = TypeVar("_Found")

#: Within STRIPE_TIMEOUT in all.
_RETRIES = 2
_TOLERANCE = 300
_LONGEST_DESCRIPTION = 250
_CONFLICT = 409
_SERVER_ERROR = 500
_LINK_ID = re.compile(r"[A-Za-z0-9_]{1,255}")
_ADDRESS = re.compile(r"https?://[\x21-\x7e]{1,2000}")


class PaymentsError(Exception):
    """Stripe did not do what it was asked. The message says why, and holds nothing of the request."""


class PaymentsRefusedError(PaymentsError):
    """Stripe declines the request, and will decline it again."""


class PaymentsUnavailableError(PaymentsError):
    """Stripe failed, did not answer in time or cannot be reached.

    `settled` says that it answered, and will repeat that answer to the same idempotency key.
    """

    def __init__(self, message: str, *, settled: bool = False) -> None:
        super().__init__(message)
        self.settled = settled


class InvalidSignatureError(Exception):
    """A message is not Stripe's, too old, or not a message at all."""


@dataclass(frozen=True, slots=True)
class Link:
    """A page where a customer pays."""

    id: str
    url: str


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What is to be paid; `metadata` comes back with every event about it."""

    amount: Decimal
    currency: str
    description: str
    metadata: Mapping[str, str]


class _EventData(BaseModel):
    model_config = ConfigDict(frozen=True)

    object: dict[str, Any]


class StripeEvent(BaseModel):
    """A message of Stripe whose signature was verified."""

    model_config = ConfigDict(frozen=True)

    id: str = Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
    type: str = Field(min_length=1, max_length=255, pattern=r"^[\x21-\x7e]+$")
    created: int = Field(ge=0, le=4_102_444_800)
    data: _EventData

    @property
    def subject(self) -> dict[str, Any]:
        """What the event is about: a session, a charge …"""
        return self.data.object


class PaymentLinks:
    """Stripe as one application asks it. One event loop uses it, and closes it."""

    def __init__(self, settings: Settings) -> None:
        """Load the SDK. Connects nowhere."""
        import stripe

        from app.services.stripe_transport import StripeTransport

        # Below a warning the SDK logs what was sent, and messages that quote it.
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self._http = StripeTransport(timeout=settings.stripe_timeout)
        self._client = stripe.StripeClient(
            settings.stripe_api_key.get_secret_value(),
            http_client=self._http,
            base_addresses={"api": settings.stripe_api_base},
            max_network_retries=_RETRIES,
        )
        self._timeout = settings.stripe_timeout
        self._secrets = settings.webhook_secrets

    async def create(self, request: LinkRequest, *, idempotency_key: str | None = None) -> Link:
        """Make a link that can be paid once; the same key makes the same link. Raise `PaymentsError`."""
        metadata = dict(request.metadata)
        return await self._ask(
            self._client.v1.payment_links.create_async(
                {
                    "line_items": [
                        {
                            "price_data": {
                                "currency": request.currency,
                                "unit_amount": count_minor_units(request.amount, request.currency),
                                "product_data": {"name": request.description},
                            },
                            "quantity": 1,
                        }
                    ],
                    "metadata": metadata,
                    "payment_intent_data": {"metadata": metadata},
                    "restrictions": {"completed_sessions": {"limit": 1}},
                },
                {"idempotency_key": idempotency_key} if idempotency_key else {},
            ),
            _read_link,
        )

    async def deactivate(self, link_id: str) -> None:
        """Make a link that nobody can pay any more. Raise `PaymentsError`."""
        await self._ask(self._client.v1.payment_links.update_async(link_id, {"active": False}), _read_link)

    def read_event(self, body: bytes, signature: str) -> StripeEvent:
        """Return the message whose `Stripe-Signature` is given; raise `InvalidSignatureError` when it is not Stripe's.

        Any of the configured secrets may have signed it, within the last five minutes.
        """
        if not any(self._is_signed(body, signature, secret) for secret in self._secrets):
            raise InvalidSignatureError
        try:
            return StripeEvent.model_validate(json.loads(body))
        except (ValidationError, ValueError, RecursionError):
            raise InvalidSignatureError from None

    @property
    def takes_events(self) -> bool:
        """Whether there is a secret that a message could be signed with."""
        return bool(self._secrets)

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close_async()

    def _is_signed(self, body: bytes, signature: str, secret: str) -> bool:
        import stripe

        try:
            return bool(stripe.WebhookSignature.verify_header(body, signature, secret, _TOLERANCE))
        except (stripe.SignatureVerificationError, ValueError, TypeError):
            # Bytes that are not UTF-8, and letters in the header that are no digits of a signature.
            return False

    async def _ask(self, request: Awaitable[Any], read: Callable[[Any], _Found]) -> _Found:
        """Return what `read` finds in Stripe's answer, within the time for all attempts; raise `PaymentsError`.

        A call is on record as good when its answer made sense. One that was cancelled says nothing of Stripe.
        """
        started = time.perf_counter()
        outcome: Outcome | None = None
        reason = ""
        try:
            found = read(await self._translate_errors(request))
            outcome = "ok"
        except PaymentsError as error:
            outcome = "refused" if isinstance(error, PaymentsRefusedError) else "failed"
            reason = str(error)
            raise
        finally:
            if outcome is not None:
                CALLS.record("stripe", outcome, time.perf_counter() - started, reason=reason)
        return found

    async def _translate_errors(self, request: Awaitable[Any]) -> Any:
        import stripe

        try:
            async with asyncio.timeout(self._timeout):
                return await request
        except TimeoutError:
            raise PaymentsUnavailableError(f"no answer within {self._timeout:g} s") from None
        except stripe.StripeError as error:
            # Neither the SDK's message nor its traceback goes on: they may hold the key, or what the customer typed.
            raise _translate(error) from None
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            # What the SDK does with JSON that is no object, or no error of Stripe's.
            raise PaymentsUnavailableError("the answer is not one of Stripe's") from None


def connect(settings: Settings) -> PaymentLinks | None:
    """Return Stripe as the settings say, or None where it is not configured."""
    return PaymentLinks(settings) if settings.stripe_api_key.get_secret_value() else None


class PaymentLinkAnswer(TypedDict):
    """What `StripeService.create_payment_link` returns."""

    payment_link_id: str
    payment_link_url: str


class StripeService:
    """Payment links for scripts: `PaymentLinks` without an event loop, by the settings of the environment."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Take the settings, or read them from the environment; raise `SettingsError` when they cannot be used."""
        self._settings = settings or load_settings()

    def create_payment_link(
        self,
        amount: Decimal | float | str,
        description: str,
        *,
        currency: str = "eur",
        metadata: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
    ) -> PaymentLinkAnswer:
        """Make a payment link and return its id and its address.

        A float is taken by its shortest text. Raise `ValueError` for an amount or a currency that cannot be paid, and
        `PaymentsError` when Stripe is not configured, refuses or fails.
        """
        price = parse_amount(amount)
        count_minor_units(price, currency)
        request = LinkRequest(price, currency, description[:_LONGEST_DESCRIPTION], dict(metadata or {}))

        async def ask() -> Link:
            links = connect(self._settings)
            if links is None:
                raise PaymentsRefusedError("Stripe is not configured: set STRIPE_API_KEY and STRIPE_WEBHOOK_SECRET")
            try:
                return await links.create(request, idempotency_key=idempotency_key)
            finally:
                await links.close()

        # A thread of its own, because the caller's may be running an event loop already.
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            link = pool.submit(asyncio.run, ask()).result()
        return {"payment_link_id": link.id, "payment_link_url": link.url}


async def deactivate_links(links: PaymentLinks, link_ids: Sequence[str]) -> None:
    """Make links that nobody can pay any more; what fails is logged, because a payment still made is noticed."""
    for link_id in link_ids:
        try:
            await links.deactivate(link_id)
        except PaymentsError as error:
            logger.warning(
                "a payment link could not be deactivated", extra={"payment_link_id": link_id, "reason": str(error)}
            )


def _read_link(answer: Any) -> Link:
    """Return the link that an answer is, as the database and a text message can hold it."""
    identity, url = getattr(answer, "id", None), getattr(answer, "url", None)
    if not (isinstance(identity, str) and _LINK_ID.fullmatch(identity)):
        raise PaymentsUnavailableError("the answer is not a payment link")
    if not (isinstance(url, str) and _ADDRESS.fullmatch(url)):
        raise PaymentsUnavailableError("the answer's link is not an address")
    return Link(identity, url)


def _translate(error: Any) -> PaymentsError:
    """Tell what an error of the SDK means; only its kind, status and code are named."""
    import stripe

    status = error.http_status or 0
    cause = error.user_message if isinstance(error, stripe.APIConnectionError) else ""
    facts = [
        type(error).__name__,
        f"HTTP {status}" if status else "",
        *map(_name, (error.code, error.request_id, cause)),
    ]
    reason = " ".join(fact for fact in facts if fact)
    if isinstance(error, stripe.CardError | stripe.InvalidRequestError) and status != _CONFLICT:
        return PaymentsRefusedError(reason)
    settled = status >= _SERVER_ERROR or isinstance(error, stripe.IdempotencyError)
    return PaymentsUnavailableError(reason, settled=settled)


def _name(value: object) -> str:
    """Return a short name for programs, such as card_declined, and nothing for anything else."""
    short = isinstance(value, str) and len(value) <= 64 and value.isascii() and value.replace("_", "").isalnum()
    return str(value) if short else ""
