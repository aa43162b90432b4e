"""The loopback Google: where a business agrees, the token endpoint with PKCE, revocation, and free and busy times.

It is as strict as Google is: the client's secret, the redirect address, the PKCE verifier and a code's single use are
checked, and a token that was never given or was revoked is not accepted. As a process of its own it prints its address:
`python -m backend.tests.vendors.google_server`.
"""

import base64
import hashlib
import json
import secrets
import sys
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from backend.tests.vendors.vendor_server import (
    Answer,
    Reply,
    VendorRequest,
    VendorServer,
    answer_json,
    run_until_terminated,
)

CLIENT_ID = "loopback.apps.googleusercontent.com"
CLIENT_SECRET = "canary-google-client-secret"
ACCOUNT = "owner@calendar.test"
SCOPES = "openid https://www.googleapis.com/auth/userinfo.email https://www.googleapis.com/auth/calendar.freebusy"
_YEAR_2100 = 4_102_444_800


@dataclass
class Agreement:
    """What one account agreed to."""

    redirect_uri: str
    challenge: str
    scope: str
    account: str
    refresh_tokens: set[str] = field(default_factory=set)
    access_tokens: set[str] = field(default_factory=set)


class GoogleServer(VendorServer):
    """A Google with one client, in which everybody agrees to everything that is asked."""

    def __init__(self, *, port: int = 0) -> None:
        super().__init__(port=port)
        self.busy: list[tuple[str, str]] = []
        self.account = ACCOUNT
        self.granted_scope: str | None = None
        self.gives_refresh_token = True
        self.rotates_refresh_tokens = False
        self.lifetime = 3599
        self._codes: dict[str, Agreement] = {}
        self._agreements: list[Agreement] = []
        self._lock = threading.Lock()

    @property
    def settings(self) -> dict[str, Any]:
        """The settings of a backend that uses this Google."""
        return {
            "google_client_id": CLIENT_ID,
            "google_client_secret": CLIENT_SECRET,
            "google_authorization_url": f"{self.url}/o/oauth2/v2/auth",
            "google_token_url": f"{self.url}/token",
            "google_revoke_url": f"{self.url}/revoke",
            "google_api_base": self.url,
        }

    @property
    def tokens(self) -> set[str]:
        """Every token that is accepted at the moment."""
        with self._lock:
            return set().union(*(one.refresh_tokens | one.access_tokens for one in self._agreements))

    def expire_access_tokens(self) -> None:
        """Accept no access token that was given so far."""
        with self._lock:
            for one in self._agreements:
                one.access_tokens.clear()

    def withdraw(self) -> None:
        """End every agreement, as an account can on Google's pages."""
        with self._lock:
            self._agreements.clear()

    def agree(self, query: dict[str, str]) -> str:
        """Agree to what an authorization address asks, and return the code."""
        assert query["client_id"] == CLIENT_ID
        assert (query["response_type"], query["code_challenge_method"]) == ("code", "S256")
        code = f"4/canary-code-{secrets.token_urlsafe(16)}"
        with self._lock:
            self._codes[code] = Agreement(
                query["redirect_uri"], query["code_challenge"], self.granted_scope or SCOPES, self.account
            )
        return code

    def handle(self, request: VendorRequest) -> Reply:
        """Answer as Google does."""
        match request.method, request.path:
            case "GET", "/o/oauth2/v2/auth":
                answered = urlencode({"state": request.query["state"], "code": self.agree(dict(request.query))})
                return Answer(302, b"", {"Location": f"{request.query['redirect_uri']}?{answered}"})
            case "POST", "/token":
                return self._give_tokens(request.form)
            case "POST", "/revoke":
                return self._revoke(request.form.get("token", ""))
            case "POST", "/calendar/v3/freeBusy":
                return self._tell_busy(request)
        return answer_json({"error": {"code": 404, "message": "Not Found"}}, status=404)

    def _give_tokens(self, form: dict[str, str]) -> Reply:
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT_ID, CLIENT_SECRET):
            return answer_json({"error": "invalid_client", "error_description": "Unauthorized"}, status=401)
        with self._lock:
            match form.get("grant_type"):
                case "authorization_code":
                    # Popped before it is looked at: a code that failed once is good for nothing.
                    agreement = self._codes.pop(form.get("code", ""), None)
                    if agreement is None or not _proves(agreement, form):
                        return _refuse("invalid_grant")
                    self._agreements.append(agreement)
                    return answer_json(self._make_tokens(agreement, first=True))
                case "refresh_token":
                    for one in self._agreements:
                        if form.get("refresh_token") in one.refresh_tokens:
                            if self.rotates_refresh_tokens:
                                one.refresh_tokens.clear()
                            return answer_json(self._make_tokens(one, first=self.rotates_refresh_tokens))
                    return _refuse("invalid_grant")
        return _refuse("unsupported_grant_type")

    def _make_tokens(self, agreement: Agreement, *, first: bool) -> dict[str, Any]:
        access_token = f"ya29.canary-access-{secrets.token_urlsafe(16)}"
        agreement.access_tokens.add(access_token)
        tokens = {
            "access_token": access_token,
            "expires_in": self.lifetime,
            "scope": agreement.scope,
            "token_type": "Bearer",
            "id_token": _make_id_token(agreement.account),
        }
        if first and self.gives_refresh_token:
            refresh_token = f"1//canary-refresh-{secrets.token_urlsafe(16)}"
            agreement.refresh_tokens.add(refresh_token)
            tokens["refresh_token"] = refresh_token
        return tokens

    def _revoke(self, token: str) -> Reply:
        with self._lock:
            found = [one for one in self._agreements if token in one.refresh_tokens | one.access_tokens]
            if not found:
                return _refuse("invalid_token")
            # All that this account agreed to with this client ends, whichever token is given back.
            self._agreements = [one for one in self._agreements if one.account != found[0].account]
        return answer_json({})

    def _tell_busy(self, request: VendorRequest) -> Reply:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        with self._lock:
            known = any(token in one.access_tokens for one in self._agreements)
        if not known:
            error = {"code": 401, "message": "Invalid Credentials", "errors": [{"reason": "authError"}]}
            return answer_json({"error": error}, status=401)
        begin, end = request.json["timeMin"], request.json["timeMax"]
        busy = [{"start": one, "end": other} for one, other in self.busy if one < end and begin < other]
        calendars = {item["id"]: {"busy": busy} for item in request.json["items"]}
        return answer_json({"kind": "calendar#freeBusy", "timeMin": begin, "timeMax": end, "calendars": calendars})


def _proves(agreement: Agreement, form: dict[str, str]) -> bool:
    digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
    return (challenge, form.get("redirect_uri")) == (agreement.challenge, agreement.redirect_uri)


def _refuse(code: str) -> Reply:
    return answer_json({"error": code, "error_description": "Bad Request"}, status=400)


def _make_id_token(account: str, **changes: Any) -> str:
    claims = {"iss": "https://accounts.google.com", "aud": CLIENT_ID, "email": account, "exp": _YEAR_2100} | changes
    parts = [json.dumps(part).encode() for part in ({"alg": "RS256", "typ": "JWT"}, claims)]
    return ".".join([*(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts), "c2lnbmF0dXJl"])


if __name__ == "__main__":
    run_until_terminated(GoogleServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0))
