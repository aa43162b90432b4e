"""Owns the loopback Anthropic: its messages API, which answers every caller alike unless something else is scripted.

A process of its own: `python -m backend.tests.vendors.anthropic_server` prints its address.
"""

from typing import Any

from backend.tests.vendors.vendor_server import (
    Answer,
    Reply,
    VendorRequest,
    VendorServer,
    answer_json,
    run_until_terminated,
)

#: Not a key of any account; a canary, which must never appear where it is not sent.
API_KEY = "sk-ant-api03-canary7Qx2mV9pLr4tKs8WnB"
REPLY = "Thank you for calling. Somebody will get back to you."
INPUT_TOKENS = 420
OUTPUT_TOKENS = 21

_REQUEST_ID = "req_011CSHoEeqs5C35K2UUqR7Fy"


class AnthropicServer(VendorServer):
    """Answers callers by `REPLY`."""

    def handle(self, request: VendorRequest) -> Reply:
        """Answer as Anthropic does."""
        # The SDK has sent the key in either of these.
        if API_KEY not in (
            request.headers.get("x-api-key"),
            request.headers.get("authorization", "")[len("Bearer ") :],
        ):
            return error(401, "authentication_error", "invalid x-api-key")
        if (request.method, request.path) != ("POST", "/v1/messages"):
            return error(404, "not_found_error", "Not Found")
        if "anthropic-version" not in request.headers:
            return error(400, "invalid_request_error", "anthropic-version: header is required")
        return message(REPLY, model=request.json["model"])


def message(text: str | None, *, model: str = "claude-haiku-4-5", **members: Any) -> Answer:
    """Make an answer as Anthropic renders it, with other values for `members`; without text it has no content."""
    content = {
        "id": "msg_01XFDUDYJgAACzvnptvVoYEL",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [] if text is None else [{"type": "text", "text": text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": INPUT_TOKENS,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": OUTPUT_TOKENS,
            "service_tier": "standard",
        },
    }
    return answer_json(content | members, headers={"request-id": _REQUEST_ID})


def error(status: int, kind: str, text: str, **headers: str) -> Answer:
    """Make an error as Anthropic renders it; `retry_after` gives a header."""
    content = {"type": "error", "error": {"type": kind, "message": text}, "request_id": _REQUEST_ID}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return answer_json(content, status=status, headers={"request-id": _REQUEST_ID} | named)


if __name__ == "__main__":
    run_until_terminated(AnthropicServer())
