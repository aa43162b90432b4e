"""The OpenAPI document: every operation documents its errors, and the document is the same everywhere."""

import copy
import json
import os
import subprocess
import sys

import pytest

from app import export_openapi
from app.errors import ApiError, problem
from app.openapi import complete_document
from app.settings import ROOT

DOCUMENT = export_openapi.make_document(version="1.2.3")
OPERATIONS = [
    pytest.param(operation, id=f"{method} {path}")
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
ALWAYS = {"414", "429", "431", "500", "503"}
PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}


def completed(**operation: object) -> dict:
    document = complete_document({"paths": {"/x": {"post": operation}}})
    return document["paths"]["/x"]["post"]["responses"]


@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_error_of_every_operation_is_a_problem(operation: dict) -> None:
    errors = {code: response for code, response in operation["responses"].items() if code >= "400"}
    assert set(errors) >= ALWAYS
    assert [code for code, response in errors.items() if PROBLEM | response["content"] != response["content"]] == []
    assert all(response["description"] for response in errors.values())


@pytest.mark.parametrize(
    ("operation", "codes"),
    [
        ({}, set()),
        ({"requestBody": {}}, {"400", "408", "413", "422"}),
        ({"parameters": [{"in": "query", "name": "x"}]}, {"422"}),
        ({"parameters": [{"in": "path", "name": "x"}]}, {"404", "422"}),
        ({"security": [{"HTTPBearer": []}]}, {"401", "403"}),
    ],
    ids=["nothing", "body", "query", "path", "token"],
)
def test_an_operation_answers_with_what_it_takes(operation: dict, codes: set) -> None:
    assert set(completed(**operation)) == codes | ALWAYS


def test_what_a_route_says_of_an_error_is_kept() -> None:
    own = {"application/json": {"schema": {"type": "string"}}}
    responses = completed(
        responses={
            "409": {"description": "Taken."},
            "402": {"description": "Pay.", "content": own},
            "503": {"content": own},
        }
    )
    assert responses["409"] == {"description": "Taken.", "content": PROBLEM}
    assert responses["402"] == {"description": "Pay.", "content": own}
    assert responses["503"]["content"] == own | PROBLEM


def test_no_schema_of_the_frameworks_is_left() -> None:
    assert "HTTPValidationError" not in json.dumps(DOCUMENT)


def test_the_schema_of_a_problem_names_what_problems_hold() -> None:
    fault = {"location": "body.x", "code": "missing", "message": "Field required"}
    error = ApiError(422, "validation_failed", "No.", action="Send it.", errors=[fault])
    content = json.loads(problem(error, instance="/x").body)
    schemas = DOCUMENT["components"]["schemas"]
    assert set(schemas["Problem"]["required"]) <= set(content) <= set(schemas["Problem"]["properties"])
    assert set(content["errors"][0]) == set(schemas["FieldError"]["properties"])


def test_completing_a_document_twice_changes_nothing() -> None:
    assert complete_document(copy.deepcopy(DOCUMENT)) == DOCUMENT


def test_the_document_is_printed_without_configuration_and_whatever_the_environment_holds() -> None:
    variables = {"PATH": os.environ["PATH"], "JWT_EXPIRY_SECONDS": "never", "DATABASE_URL": "none", "ENVIRONMENT": "x"}
    command = [sys.executable, "-m", "app.export_openapi", "--version", "1.2.3"]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout == export_openapi.render(DOCUMENT)
    assert json.loads(done.stdout)["info"]["version"] == "1.2.3"
