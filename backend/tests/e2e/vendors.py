"""Stands in for the vendors while the end-to-end suites run: real servers on loopback, and variables that lead there.

`python -m backend.tests.e2e.vendors` prints `{"release": {…}, "suites": {…}}` in one line, the variables of the release
and of the suites, and serves until its standard input ends.
"""

import contextlib
import json
import sys

from backend.tests.vendors.stripe_server import API_KEY, WEBHOOK_SECRET, StripeServer
from backend.tests.vendors.vendor_server import VendorServer


def main() -> None:
    """Serve until nobody is left to serve."""
    with contextlib.ExitStack() as stack:
        # No suite can agree at Google in somebody's place, so that nothing but the way there is asked for.
        stripe, google = stack.enter_context(StripeServer()), stack.enter_context(VendorServer())
        release = {
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_API_KEY": API_KEY,
            "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET,
            "GOOGLE_AUTHORIZATION_URL": f"{google.url}/o/oauth2/v2/auth",
            "GOOGLE_TOKEN_URL": f"{google.url}/token",
            "GOOGLE_REVOKE_URL": f"{google.url}/revoke",
            "GOOGLE_API_BASE": google.url,
            "GOOGLE_CLIENT_ID": "000000000000-endtoend.apps.googleusercontent.com",
            "GOOGLE_CLIENT_SECRET": "GOCSPX-no-secret-of-any-account",
        }
        suites = {"VERIFY_STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}
        sys.stdout.write(json.dumps({"release": release, "suites": suites}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
