"""Owns what the reference of the variables says beside the declarations: its prose, its examples, other readers."""

from typing import Final

TITLE: Final = "Environment variables of the backend"

INTRODUCTION: Final = """\
The backend reads its configuration from these variables once, at start-up. When one is missing or malformed it does not
start: it prints one message that names every variable at fault and what it should look like, and exits with 1. The
values of secrets are never printed.

An empty variable counts as absent. Capitals in a name do not matter. `.env.example` is a starting point; pass it with
`uvicorn app.main:app --env-file .env`. `invoke env.check --env production` says what is missing or malformed in an
environment before anything is deployed there.

An integration that is not configured is switched off, and `/api/health` says so; everything else works without it.
One that is configured by halves stops the start."""

#: What `.env.example` shows where there is no default to show. Production refuses every one of them.
EXAMPLES: Final[dict[str, str]] = {
    "DATABASE_URL": "postgresql://maya:changeme@127.0.0.1:5432/maya",
    "JWT_SECRET_KEY": "replace-me-with-at-least-32-random-characters",  # nosec B105 - production refuses it
    "ENCRYPTION_KEY": "replace-me-with-32-random-bytes-in-base64",
    "CORS_ORIGINS": "http://localhost:3000",
}

#: Variables that are all given, or none of them.
TOGETHER: Final = (
    ("STRIPE_API_KEY", "STRIPE_WEBHOOK_SECRET"),
    ("TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_FROM_NUMBER"),
    ("GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET"),
)

#: Variables that every process of an environment has the same of: what one signs or encrypts another one reads.
SHARED: Final = frozenset({"JWT_SECRET_KEY", "ENCRYPTION_KEY"})

OTHERS_TITLE: Final = "Read by other programs"

#: Name, who reads it, what it should look like, what it does, and whether it is a secret.
OTHERS: Final = (
    ("HOST", "the start command", "an address to listen on; `0.0.0.0` without it", "where uvicorn listens", False),
    ("PORT", "the start command", "a port; `8000` without it", "where uvicorn listens", False),
    (
        "FORWARDED_ALLOW_IPS",
        "uvicorn",
        "addresses or networks, separated by commas",
        "proxies whose `X-Forwarded-For` is believed, so that limits count each client; `*` believes the clients too",
        False,
    ),
    (
        "MAYA_PASSWORD",
        "`python -m app.create_user`",
        "8 to 1024 characters",
        "the password of the account to create, instead of standard input",
        True,
    ),
    (
        "OTEL_SERVICE_NAME",
        "OpenTelemetry",
        "a name",
        "what the service is called in traces",
        False,
    ),
    (
        "OTEL_RESOURCE_ATTRIBUTES",
        "OpenTelemetry",
        "pairs separated by commas: `region=eu,team=maya`",
        "what else is told with every trace",
        False,
    ),
    (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "OpenTelemetry",
        "pairs separated by commas: `authorization=…`",
        "headers that the receiver of the traces asks for",
        True,
    ),
)

#: Sections at the end of the page: a heading, and what stands below it.
CLOSING: Final = (
    (
        "Make a key",
        """\
```sh
python -c "import secrets; print(secrets.token_urlsafe(48))"                                     # JWT_SECRET_KEY
python -c "import base64, secrets; print(base64.b64encode(secrets.token_bytes(32)).decode())"    # ENCRYPTION_KEY
python -c "import secrets; print(secrets.token_urlsafe(24))"                                     # METRICS_TOKEN
```

Every environment has keys of its own, and all processes of one environment have the same. Staging and production refuse
values of these and of `STRIPE_WEBHOOK_SECRET` that look like defaults: those of `.env.example`, words such as
`changeme` or `password`, repeated characters.
Development makes up the two keys where they are absent, for each process anew: its tokens end with it.""",
    ),
    (
        "Replace a key",
        """\
Nothing is interrupted, and nobody is logged out, when the old key stays known for a while:

1. `JWT_SECRET_KEY`: put the key in use into `JWT_PREVIOUS_KEYS` and a new one into `JWT_SECRET_KEY`, for all processes,
   and deploy. After `JWT_EXPIRY_SECONDS` no token of the old key is valid any more: empty `JWT_PREVIOUS_KEYS`.
2. `ENCRYPTION_KEY`: the same with `ENCRYPTION_PREVIOUS_KEYS`. What the old key encrypted can be read as long as the old
   key stands there, and whatever is written is encrypted with the new one. Take it out when nothing is kept under it
   any more: without it those calendars have to be connected again.
3. `STRIPE_WEBHOOK_SECRET`: roll the secret in Stripe with an overlap, set `NEW,OLD` here and deploy; when the overlap
   is over, `NEW` alone.

When a key was seen by somebody who should not have it, leave out the overlap: set the new one alone. All tokens end,
and everybody logs in again.""",
    ),
)
