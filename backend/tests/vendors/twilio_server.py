"""Owns the loopback Twilio: its messages are kept in memory and can be listed.

A process of its own: `python -m backend.tests.vendors.twilio_server` prints its address.
"""

import base64
import email.utils
import threading
import uuid
from collections import deque
from typing import Any

from backend.tests.vendors.vendor_server import (
    Answer,
    Reply,
    VendorRequest,
    VendorServer,
    answer_json,
    run_until_terminated,
)

#: No account's; canaries, which must never appear where they are not sent.
ACCOUNT_SID = "AC0123456789abcdef0123456789abcdef"
AUTH_TOKEN = "canary8f2b41d96c07ae53twilio"
FROM_NUMBER = "+15005550006"

_MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
_CREDENTIALS = "Basic " + base64.b64encode(f"{ACCOUNT_SID}:{AUTH_TOKEN}".encode()).decode()


class TwilioServer(VendorServer):
    """Takes every message, unless something else is scripted."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self._lock = threading.Lock()
        self._messages: list[dict[str, Any]] = []
        self._after_accepting: deque[Reply] = deque()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages that were accepted, as Twilio renders them, oldest first."""
        with self._lock:
            return [dict(message) for message in self._messages]

    def accept_and_answer(self, *replies: Reply) -> None:
        """Accept the next messages, and answer them by these."""
        with self._lock:
            self._after_accepting.extend(replies)

    def accept(self, *, to: str, body: str, **members: Any) -> dict[str, Any]:
        """Keep a message as if it had been sent, with other values for `members`."""
        sid = f"SM{uuid.uuid4().hex}"
        now = email.utils.formatdate()
        message = {
            "sid": sid,
            "account_sid": ACCOUNT_SID,
            "api_version": "2010-04-01",
            "body": body,
            "date_created": now,
            "date_sent": None,
            "date_updated": now,
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": FROM_NUMBER,
            "messaging_service_sid": None,
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": "USD",
            "status": "queued",
            "subresource_uris": {"media": f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}/Media.json"},
            "to": to,
            "uri": f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}.json",
        } | members
        with self._lock:
            self._messages.append(message)
        return message

    def handle(self, request: VendorRequest) -> Reply:
        """Answer as Twilio does."""
        if request.headers.get("authorization") != _CREDENTIALS:
            return error(401, 20003, "Authenticate")
        if request.path != _MESSAGES:
            return error(404, 20404, f"The requested resource {request.path} was not found")
        if request.method == "GET":
            return self._list(request)
        form = request.form
        if not form.get("To", "").startswith("+"):
            return error(400, 21211, f"The 'To' number {form.get('To')} is not a valid phone number.")
        message = self.accept(to=form["To"], body=form["Body"])
        with self._lock:
            if self._after_accepting:
                return self._after_accepting.popleft()
        return answer_json(message, status=201)

    def _list(self, request: VendorRequest) -> Answer:
        size = int(request.query.get("PageSize", "50"))
        found = [message for message in reversed(self.messages) if message["to"] == request.query.get("To")]
        page = {
            "end": max(min(size, len(found)) - 1, 0),
            "first_page_uri": f"{_MESSAGES}?PageSize={size}&Page=0",
            "messages": found[:size],
            "next_page_uri": None,
            "page": 0,
            "page_size": size,
            "previous_page_uri": None,
            "start": 0,
            "uri": f"{_MESSAGES}?PageSize={size}&Page=0",
        }
        return answer_json(page)


def error(status: int, code: int, message: str, **headers: str) -> Answer:
    """Make an error as Twilio renders it; `Retry_After` gives a header."""
    content = {
        "code": code,
        "message": message,
        "more_info": f"https://www.twilio.com/docs/errors/{code}",
        "status": status,
    }
    return answer_json(
        content, status=status, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


if __name__ == "__main__":
    run_until_terminated(TwilioServer())
