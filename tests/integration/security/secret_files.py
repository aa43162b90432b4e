"""Files with every kind of secret, and benign files of the same shape, as the tests of the scanners plant them.

Nothing planted stands in this file: it is made when it is imported, of parts, since the scanners look here as well. It
is the same every time.
"""

import base64
import json
import random
import re
import string

LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"

_random = random.Random(20261121)  # noqa: S311 - what is planted must only look random, and be the same every time


def draw(length: int, letters: str = LETTERS) -> str:
    """Return random letters, the same at each run."""
    return "".join(_random.choice(letters) for _ in range(length))


def draw_uuid() -> str:
    return "-".join(draw(length, HEX) for length in (8, 4, 4, 4, 12))


def encode(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def make_key() -> str:
    name = "RSA PRIVATE " + "KEY"
    return "\n".join([f"-----BEGIN {name}-----", *(draw(64) for _ in range(12)), f"-----END {name}-----", ""])


def make_jwt() -> str:
    return f"{encode({'alg': 'HS256', 'typ': 'JWT'})}.{encode({'sub': '4711', 'iat': 1760000000})}.{draw(43)}"


SECRETS: dict[str, str] = {
    "aws.py": f'AWS_ACCESS_KEY_ID = "{"AK" + "IA"}{draw(16, string.ascii_uppercase + "234567")}"\n',
    "github.yml": f"token: {'gh' + 'p_'}{draw(36)}\n",
    "slack.py": f'SLACK = "{"xo" + "xb"}-{draw(12, string.digits)}-{draw(12, string.digits)}-{draw(24)}"\n',
    "stripe.env": f"STRIPE_SECRET_KEY={'sk' + '_live_'}{draw(24)}\n",
    "twilio.env": f"TWILIO_AUTH_TOKEN={draw(32, HEX)}\n",
    "anthropic.env": f"ANTHROPIC_API_KEY={'sk-' + 'ant-api03-'}{draw(93)}AA\n",
    "google.js": f'const key = "{"AI" + "za"}{draw(35)}";\n',
    "key.pem": make_key(),
    "jwt.txt": f"Authorization: Bearer {make_jwt()}\n",
    "basic.md": f"curl https://deploy:{draw(16)}@registry.acme-corp.io/v2/\n",
    "railway.sh": f"export RAILWAY_TOKEN={draw_uuid()}\n",
    "database.env": f"DATABASE_URL=postgresql://app:{draw(20)}@db.acme-corp.io:5432/app\n",
    "password.py": f'DB_PASSWORD = "{draw(8)}!{draw(8)}#{draw(6)}"\n',
    "npmrc.svg": f"//registry.npmjs.org/:_authToken={'np' + 'm_'}{draw(36)}\n",
}

BENIGN: dict[str, str] = {
    "example.env": "STRIPE_SECRET_KEY=\nANTHROPIC_API_KEY=<your key>\nDATABASE_URL=${DATABASE_URL}\n",
    "placeholders.md": f"Set `GITHUB_TOKEN={'gh' + 'p_'}{'x' * 36}` and `RAILWAY_TOKEN=<token>`.\n",
    "requirements.txt": f"httpx==0.28.1 \\\n    --hash=sha256:{draw(64, HEX)} \\\n    --hash=sha256:{draw(64, HEX)}\n",
    "ids.py": f'TENANT = "{draw_uuid()}"\nPROJECT_ID = "{draw_uuid()}"\n',
    "image.html": f'<img src="data:image/png;base64,{base64.b64encode(_random.randbytes(900)).decode()}">\n',
    "settings.py": 'import os\n\npassword = os.environ["DB_PASSWORD"]\napi_key = load_key("stripe")\n',
    "workflow.yml": f"jobs:\n  a:\n    steps:\n      - uses: actions/checkout@{draw(40, HEX)} # v5.0.0\n"
    "        env:\n          RAILWAY_TOKEN: ${{ secrets.RAILWAY_TOKEN }}\n",
    "Dockerfile": f"FROM python:3.13-slim@sha256:{draw(64, HEX)}\n",
    "public.pem": f"-----BEGIN PUBLIC KEY-----\n{draw(64)}\n{draw(64)}\n-----END PUBLIC KEY-----\n",
    "package-lock.json": json.dumps({"integrity": f"sha512-{base64.b64encode(_random.randbytes(64)).decode()}"}),
    "docs.md": "Connect to `postgresql://localhost:5432/app`; the password is asked for, or read from `PGPASSWORD`.\n",
}

_SECRET = re.compile(r"[0-9A-Za-z]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\w+!\w+#\w+")
#: The secrets themselves, without what stands around them.
SHOWN_NOWHERE = tuple(found for content in SECRETS.values() for found in _SECRET.findall(content))
