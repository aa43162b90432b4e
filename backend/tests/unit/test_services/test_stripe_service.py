import json
import os
import subprocess
import sys

import pytest

from app.services.stripe_service import connect
from app.settings import ROOT
from backend.tests.vendors.stripe_server import API_KEY, WEBHOOK_SECRET

CONFIGURED = {"STRIPE_API_KEY": API_KEY, "STRIPE_WEBHOOK_SECRET": WEBHOOK_SECRET}
PROGRAM = """
import json, sys
from app.application import create_app
create_app()
print(json.dumps("stripe" in sys.modules))
"""


@pytest.mark.parametrize(("variables", "loaded"), [({}, False), (CONFIGURED, True)])
def test_the_sdk_is_loaded_where_stripe_is_configured_and_nowhere_else(variables, loaded):
    environment = os.environ | {"DATABASE_URL": "postgresql://maya:pw@127.0.0.1:1/maya"} | variables

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert json.loads(ended.stdout) is loaded


def test_without_a_key_there_is_no_stripe(make_settings):
    assert connect(make_settings()) is None


@pytest.mark.anyio
async def test_what_it_is_made_of_shows_no_secret(make_settings):
    links = connect(make_settings(stripe_api_key=API_KEY, stripe_webhook_secret=WEBHOOK_SECRET))

    assert links is not None
    assert links.takes_events
    assert API_KEY not in repr(links)
    await links.close()
