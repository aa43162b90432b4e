"""Railway's API on loopback: the upload endpoint and the GraphQL operations that a deploy needs, as one ASGI app.

What is answered comes from a `Platform`; this module knows HTTP only. As on Railway, GraphQL errors come with HTTP 200,
and a wrong token is such an error there but a 401 for an upload. Requests whose Host header is not a loopback name are
refused, so that no web page can reach the platform through a name of its own.
"""

import functools
import hmac
import json
import logging
import re
from pathlib import Path
from typing import Any, Final

import anyio.to_thread
from starlette.applications import Starlette
from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from fairlead.exceptions import Error
from fairlead.localplatform import uploads
from fairlead.localplatform.answers import Answers, render_latency, render_statuses
from fairlead.localplatform.protocol import Platform
from fairlead.localplatform.records import Deployment, LogLine

__all__ = ["Platform", "make_api"]

_LOG = logging.getLogger(__name__)
_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]", "::1")
_QUERY_LIMIT: Final = 256 * 1024
_MESSAGE_LIMIT: Final = 4096
_LOG_LINES: Final = 5000


def make_api(
    platform: Platform, *, largest_upload: int = uploads.MAXIMUM, silence: float = uploads.SILENCE
) -> Starlette:
    """Make the API of `platform`.

    `largest_upload` is in bytes, `silence` is how long an upload may pause, in seconds.
    """
    api = _Api(platform, largest_upload=largest_upload, silence=silence)
    place = "/project/{project}/environment/{environment}"
    return Starlette(
        routes=[
            Route("/health", api.health, methods=["GET"]),
            Route("/graphql/v2", api.graphql, methods=["POST"]),
            Route(place + "/up", api.up, methods=["POST"]),
            Route(place + "/deployment/{deployment}/logs", api.logs, methods=["GET"]),
            Route(place + "/deployment/{deployment}/canary", api.canary, methods=["POST"]),
            Route(place + "/deployment/{deployment}/traffic", api.traffic, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(_HOSTS), www_redirect=False)],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


class _Api:
    def __init__(self, platform: Platform, *, largest_upload: int, silence: float) -> None:
        self._platform = platform
        self._answers = Answers(platform)
        self._largest_upload = largest_upload
        self._silence = silence

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "pass"})

    async def graphql(self, request: Request) -> Response:
        try:
            asked = json.loads(await _read(request))
        except ClientDisconnect:
            return Response(status_code=400)
        except (ValueError, RecursionError):
            return _errors("the request body is not JSON", status=400)
        if not self._authorized(request):
            return _errors("Not Authorized")
        document = asked.get("query") if isinstance(asked, dict) else None
        if not isinstance(document, str):
            return _errors("the request must be a JSON object with a query", status=400)
        variables, operation = asked.get("variables"), asked.get("operationName")
        if not isinstance(variables, dict | None) or not isinstance(operation, str | None):
            return _errors("variables must be an object and operationName a string", status=400)
        answer = functools.partial(self._answers.execute, document, variables=variables, operation=operation)
        return JSONResponse(await anyio.to_thread.run_sync(answer))

    async def up(self, request: Request) -> Response:
        refusal = self._refuse_upload(request)
        if refusal is not None:
            await uploads.drain(request, maximum=self._largest_upload, silence=self._silence)
            return refusal
        try:
            folder = self._platform.incoming
            archive = await uploads.save(request, folder, maximum=self._largest_upload, silence=self._silence)
            taken = await self._take(archive, request.query_params)
        except uploads.UploadRefusedError as error:
            return _message(error.status, error.message)
        except Error as error:
            _LOG.warning("an upload was not taken: %s", error.message)
            return _message(500, error.message + (f"; {error.hint}" if error.hint else ""))
        public = self._platform.public_url
        place = f"{request.url.scheme}://{request.url.netloc}{request.url.path.removesuffix('/up')}"
        return JSONResponse(
            {
                "deploymentId": taken.id,
                "url": public,
                "logsUrl": f"{place}/deployment/{taken.id}/logs",
                "deploymentDomain": public.partition("://")[2].rstrip("/"),
            }
        )

    def logs(self, request: Request) -> Response:
        if refusal := self._refuse_asking(request):
            return refusal
        deployment = request.path_params["deployment"]
        lines: list[LogLine] = []
        for stream in ("build", "deploy"):
            lines += self._platform.logs(deployment, stream=stream, limit=_LOG_LINES)
        return PlainTextResponse("".join(f"{line.timestamp} {line.stream:6} {line.message}\n" for line in lines))

    async def canary(self, request: Request) -> Response:
        """Let a canary take over or withdraw it; Railway has nothing like it."""
        if refusal := self._refuse_asking(request):
            return refusal
        deployment = request.path_params["deployment"]
        try:
            await self._platform.settle(deployment, take_over=request.query_params.get("take-over") == "true")
        except Error as error:
            return _message(409, error.message)
        return JSONResponse({"settled": True})

    async def traffic(self, request: Request) -> Response:
        """Say what one release answered, in the shape of Railway's metrics of a service."""
        if refusal := self._refuse_asking(request):
            return refusal
        asked, deployment = request.query_params, request.path_params["deployment"]
        try:
            period = {name: float(asked[name]) for name in ("since", "until")}
            step = int(asked.get("step", "1"))
            traffic = self._platform.traffic
            statuses = traffic.by_status(**period, step=step, deployment_id=deployment)
            latency = traffic.latency(**period, step=step, deployment_id=deployment)
        except (KeyError, ValueError):
            return _message(400, "since and until must be unix seconds, step a whole number of them")
        told = {"httpMetricsGroupedByStatus": render_statuses(statuses), "httpDurationMetrics": render_latency(latency)}
        return JSONResponse(told)

    async def _take(self, archive: Path, asked: QueryParams) -> Deployment:
        canary = asked.get("canary")
        try:
            return await self._platform.receive(
                archive,
                service_id=asked.get("serviceId") or next(iter(self._platform.services)),
                message=asked.get("message"),
                canary=None if canary is None else float(canary),
            )
        except BaseException:
            # Not awaited: a request that is being cancelled could not wait for it.
            archive.unlink(missing_ok=True)  # noqa: ASYNC240 - one call, on a local disk
            raise

    def _authorized(self, request: Request) -> bool:
        given = request.headers.get("project-access-token", "")
        return hmac.compare_digest(given.encode(), self._platform.token.encode())

    def _unknown(self, request: Request) -> str | None:
        given = request.path_params
        if given["project"] != self._platform.project_id:
            return "project"
        return "environment" if given["environment"] != self._platform.environment_id else None

    def _refuse_asking(self, request: Request) -> Response | None:
        if not self._authorized(request):
            return _message(401, "Not Authorized")
        if self._unknown(request) or self._platform.deployment(request.path_params["deployment"]) is None:
            return _message(404, "there is no such deployment on the local platform")
        return None

    def _refuse_upload(self, request: Request) -> Response | None:
        if not self._authorized(request):
            return _message(401, "Not Authorized")
        service = request.query_params.get("serviceId")
        unknown = self._unknown(request)
        if service is not None and service not in self._platform.services:
            unknown = unknown or "service"
        if unknown is not None:
            return _message(404, f"there is no such {unknown} on the local platform")
        if len(request.query_params.get("message", "")) > _MESSAGE_LIMIT:
            return _message(400, f"the message is longer than {_MESSAGE_LIMIT} characters")
        if not re.fullmatch(r"[1-9]\d?(\.\d+)?", request.query_params.get("canary", "1")):
            return _message(400, "canary must be a percentage from 1 to 99")
        return None


async def _read(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _QUERY_LIMIT:
            raise HTTPException(413, f"the request is larger than {_QUERY_LIMIT} bytes")
    return bytes(body)


async def _refused(_request: Request, error: Exception) -> Response:
    status, text = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "")
    return _message(status, text)


async def _failed(_request: Request, _error: Exception) -> Response:
    return _message(500, "the local platform failed to handle this request; `invoke platform.logs` shows why")


def _message(status: int, message: str) -> Response:
    return JSONResponse({"message": message}, status_code=status)


def _errors(message: str, *, status: int = 200) -> Response:
    body: dict[str, Any] = {"data": None, "errors": [{"message": message}]}
    return JSONResponse(body, status_code=status)
