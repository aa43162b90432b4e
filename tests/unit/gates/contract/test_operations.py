"""What breaks a client beside the schemas: operations, parameters, bodies, answers, headers, credentials."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from fairlead.gates.contract.changes import Change
from fairlead.gates.contract.documents import Document, read_document
from fairlead.gates.contract.operations import compare, operations_of

Content = dict[str, Any]
TEXT, NUMBER = {"type": "string"}, {"type": "integer"}

DOCUMENT: Content = {
    "openapi": "3.1.0",
    "info": {"title": "T", "version": "1.0.0"},
    "paths": {
        "/things/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": {
                "operationId": "read_thing",
                "parameters": [{"in": "query", "name": "limit", "schema": {"type": "integer", "maximum": 9}}],
                "responses": {
                    "200": {
                        "description": "Done.",
                        "headers": {"Retry-After": {"required": True, "schema": NUMBER}},
                        "content": {"application/json": {"schema": TEXT}},
                    },
                    "404": {"$ref": "#/components/responses/Problem"},
                    "4XX": {"description": "Refused."},
                },
            },
            "put": {
                "requestBody": {"content": {"application/json": {"schema": TEXT}, "text/plain": {"schema": TEXT}}},
                "responses": {"204": {"description": "Done."}},
                "security": [{"bearer": []}, {"key": []}],
            },
        },
        "/open": {"post": {"responses": {"201": {"description": "Done."}}}},
    },
    "components": {
        "parameters": {"Id": {"in": "path", "name": "id", "required": True, "schema": TEXT}},
        "responses": {"Problem": {"description": "No.", "content": {"application/problem+json": {"schema": TEXT}}}},
        "securitySchemes": {
            "bearer": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "header", "name": "X-Key"},
        },
    },
}


def at(path: str) -> Callable[[Content], Any]:
    def find(content: Content) -> Any:
        for part in path.split() if path else ():
            content = content[int(part) if part.isdigit() and isinstance(content, list) else part]
        return content

    return find


def put(path: str, key: str, value: Any) -> Callable[[Content], None]:
    return lambda content: at(path)(content).update({key: value})


def drop(path: str, key: str) -> Callable[[Content], None]:
    return lambda content: at(path)(content).pop(key)


def both(*edits: Callable[[Content], Any]) -> Callable[[Content], None]:
    def edit(content: Content) -> None:
        for one in edits:
            one(content)

    return edit


def add(path: str, value: Any) -> Callable[[Content], None]:
    return lambda content: at(path)(content).append(value)


def rename(path: str, old: str, new: str) -> Callable[[Content], None]:
    return lambda content: at(path)(content).update({new: at(path)(content).pop(old)})


THING, GET, PUT = "paths /things/{id}", "paths /things/{id} get", "paths /things/{id} put"
OK, BODY, LIMIT = f"{GET} responses 200", f"{PUT} requestBody", f"{GET} parameters 0"
OPEN, PROBLEM = "paths /open post", "components responses Problem content"

#: What is edited; what breaks from the old to the edited document, and from the edited to the old.
CASES: tuple[tuple[str, Callable[[Content], Any], str, str], ...] = (
    ("an operation removed", drop(THING, "put"), "operation-removed", ""),
    ("a path removed", drop("paths", "/open"), "operation-removed", ""),
    ("a path moved", rename("paths", "/open", "/opened"), "operation-removed", "operation-removed"),
    ("an operation deprecated", put(GET, "deprecated", True), "", ""),
    ("another operationId", put(GET, "operationId", "get_thing"), "operation-id", "operation-id"),
    ("callbacks", put(GET, "callbacks", {"x": {}}), "not-compared", "not-compared"),
    ("webhooks", put("", "webhooks", {"x": {}}), "not-compared", "not-compared"),
    # Parameters
    (
        "a path's parameter renamed",
        both(rename("paths", "/things/{id}", "/things/{it}"), put("components parameters Id", "name", "it")),
        "parameter-name",
        "parameter-name",
    ),
    ("a narrower path parameter", put("components parameters Id", "schema", NUMBER), "type", "type"),
    ("a lower limit", put(f"{LIMIT} schema", "maximum", 8), "maximum", ""),
    ("a required parameter", put(LIMIT, "required", True), "parameter-required", ""),
    ("a parameter renamed", put(LIMIT, "name", "size"), "parameter-removed", "parameter-removed"),
    ("a parameter moved", put(LIMIT, "in", "header"), "parameter-removed", "parameter-removed"),
    ("an optional parameter more", add(f"{GET} parameters", {"in": "query", "name": "x"}), "", "parameter-removed"),
    (
        "a required parameter more",
        add(f"{GET} parameters", {"in": "cookie", "name": "x", "required": True}),
        "parameter-required",
        "parameter-removed",
    ),
    ("another default", put(f"{LIMIT} schema", "default", 5), "", "default-removed"),
    ("a parameter written in another style", put(LIMIT, "style", "spaceDelimited"), *["parameter-style"] * 2),
    ("a parameter that may hold more signs", put(LIMIT, "allowReserved", True), *["parameter-style"] * 2),
    ("a style that is the default", put(LIMIT, "style", "form"), "", ""),
    (
        "a parameter with content",
        both(drop(LIMIT, "schema"), put(LIMIT, "content", {"application/json": {"schema": NUMBER}})),
        "parameter-style",
        "parameter-style",
    ),
    ("a default that nobody meets", both(put(LIMIT, "required", True), put(f"{LIMIT} schema", "default", 5)),
     "parameter-required", ""),
    ("another server", put("", "servers", [{"url": "/v2"}]), "not-compared", "not-compared"),
    ("another server of one path", put(THING, "servers", [{"url": "/v2"}]), "not-compared", "not-compared"),
    ("the server that is meant without one", put(GET, "servers", [{"url": "/", "description": "D"}]), "", ""),
    # Bodies
    ("a body that became required", put(BODY, "required", True), "body-required", ""),
    ("a body removed", drop(PUT, "requestBody"), "body-removed", ""),
    ("a required body more", put(OPEN, "requestBody", {"required": True}), "body-required", "body-removed"),
    ("an optional body more", put(OPEN, "requestBody", {"content": {}}), "", "body-removed"),
    ("a media type removed", drop(f"{BODY} content", "text/plain"), "media-type-removed", ""),
    ("a media range for a media type", rename(f"{BODY} content", "text/plain", "text/*"), "", "media-type-removed"),
    ("any media type", put(BODY, "content", {"*/*": {"schema": TEXT}}), "", "media-type-removed"),
    ("a parameter of a media type", rename(f"{BODY} content", "text/plain", "text/plain; charset=utf-8"), "", ""),
    ("another version of a media type", rename(f"{BODY} content", "text/plain", "text/plain; version=2"),
     *["media-type-removed"] * 2),
    ("a media type of its own in a range", both(put(f"{BODY} content", "*/*", {"schema": TEXT}),
                                               put(f"{BODY} content", "a/b", {"schema": NUMBER})),
     "", "media-type-removed"),
    ("a body written in another way", put(f"{BODY} content text/plain", "encoding", {"title": {"style": "form"}}),
     *["not-compared"] * 2),
    ("another body", put(f"{BODY} content application/json", "schema", NUMBER), "type", "type"),
    # Answers
    ("another success", rename(f"{GET} responses", "200", "201"), *["status-added status-removed"] * 2),
    ("a success more", put(f"{GET} responses", "202", {}), "status-added", "status-removed"),
    ("a redirection more", put(f"{GET} responses", "302", {}), "status-added", "status-removed"),
    ("an error more", put(f"{GET} responses", "503", {}), "", ""),
    ("an error more, of a documented class", put(f"{GET} responses", "409", {}), "", ""),
    ("another error", put(f"{PROBLEM} application/problem+json", "schema", NUMBER), "type", "type"),
    ("an error without its content", put(f"{GET} responses", "404", {}), "content-removed", ""),
    ("a class of successes", rename(f"{PUT} responses", "204", "2XX"), "status-added", "status-removed"),
    ("the media type of an error", rename(PROBLEM, "application/problem+json", "a/b"),
     *["media-type-removed media-type-added"] * 2),
    ("a media type more", put(f"{OK} content", "text/csv", {}), "media-type-added", "media-type-removed"),
    ("a media range", rename(f"{OK} content", "application/json", "application/*"), "media-type-added", ""),
    ("content where there was none", put(f"{PUT} responses 204", "content", {"a/b": {}}), "", "content-removed"),
    ("another answer", put(f"{OK} content application/json", "schema", NUMBER), "type", "type"),
    ("a header removed", drop(OK, "headers"), "header-removed", ""),
    ("a header in other letters", rename(f"{OK} headers", "Retry-After", "retry-after"), "", ""),
    ("a header that became optional", put(f"{OK} headers Retry-After", "required", False), "header-optional", ""),
    ("another header", put(f"{OK} headers Retry-After", "schema", TEXT), "type", "type"),
    ("a header with content", put(f"{OK} headers", "Retry-After", {"required": True, "content": {"a/b": {}}}),
     "header-style", "header-style"),
    # Credentials
    ("credentials asked for", put(OPEN, "security", [{"key": []}]), "security", ""),
    ("credentials asked for everywhere", put("", "security", [{"key": []}]), "security", ""),
    ("one way of two", put(PUT, "security", [{"bearer": []}]), "security", ""),
    ("both at once", put(PUT, "security", [{"bearer": [], "key": []}]), "security", ""),
    ("another scope", put(PUT, "security", [{"bearer": ["write"]}, {"key": []}]), "security", ""),
    ("what says nothing of a scheme", both(put("components securitySchemes bearer", "scheme", "Bearer"),
                                           put("components securitySchemes bearer", "bearerFormat", "JWT")), "", ""),
    ("a scheme renamed", both(rename("components securitySchemes", "key", "other"),
                              put(PUT, "security", [{"bearer": []}, {"other": []}])), "", ""),
    ("another scheme of one name", put("components securitySchemes key", "name", "X-Other"), "security", "security"),
)  # fmt: skip


def made(content: Content) -> Document:
    return Document("a document", content)


def breaking(old: Content, new: Content) -> set[str]:
    return {change.rule for change in compare(made(old), made(new)) if change.level != "compatible"}


@pytest.mark.parametrize(("edit", "forwards", "backwards"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
def test_a_change_breaks_who_it_breaks(edit: Callable[[Content], Any], forwards: str, backwards: str) -> None:
    edited = copy.deepcopy(DOCUMENT)
    edit(edited)
    assert breaking(DOCUMENT, edited) == set(forwards.split())
    assert breaking(edited, DOCUMENT) == set(backwards.split())


def test_a_document_is_equal_to_itself() -> None:
    assert compare(made(DOCUMENT), made(copy.deepcopy(DOCUMENT))) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"default": TEXT}, {"200": NUMBER}, "status-removed type"),
        ({"default": TEXT}, {"default": TEXT, "200": NUMBER}, "type"),
        ({"default": TEXT}, {"default": TEXT, "200": TEXT}, ""),
        ({"2XX": TEXT}, {"2XX": TEXT, "200": NUMBER}, "type"),
        ({"200": TEXT, "4XX": TEXT}, {"200": TEXT, "4XX": TEXT, "409": NUMBER}, "type"),
        ({"200": TEXT, "default": NUMBER}, {"200": TEXT, "default": NUMBER, "201": NUMBER}, "status-added"),
        ({"200": TEXT, "201": TEXT, "default": TEXT}, {"200": TEXT, "default": TEXT}, "status-removed"),
        ({"200": TEXT, "default": NUMBER}, {"200": TEXT, "default": NUMBER, "409": NUMBER}, ""),
        ({"200": TEXT}, {"200": TEXT, "default": NUMBER}, ""),
    ],
)
def test_a_status_is_compared_with_what_covered_it(old: Content, new: Content, expected: str) -> None:
    def answering(schemas: Content) -> Content:
        answers = {status: {"content": {"a/b": {"schema": schema}}} for status, schema in schemas.items()}
        return {**DOCUMENT, "paths": {"/x": {"get": {"responses": answers}}}}

    assert breaking(answering(old), answering(new)) == set(expected.split())


def test_parameters_of_a_path_that_change_places_break() -> None:
    def placed(path: str) -> Content:
        parameters = [{"in": "path", "name": name, "required": True, "schema": TEXT} for name in "ab"]
        return {**DOCUMENT, "paths": {path: {"get": {"parameters": parameters, "responses": {}}}}}

    changes = compare(made(placed("/x/{a}/{b}")), made(placed("/x/{b}/{a}")))
    assert [(change.rule, change.level) for change in changes] == [("parameter-moved", "breaking")] * 2


def test_what_schemas_hold_of_each_other_is_compared_wherever_it_begins() -> None:
    def made_of(kind: Content, first: Content) -> Content:
        def holding(**names: str) -> Content:
            return {"type": "object", "properties": {key: at_component(name) for key, name in names.items()}}

        answers = {f"/{place}": {"get": {"responses": {"200": {"content": {"a/b": {"schema": schema}}}}}}
                   for place, schema in enumerate((first, at_component("C")))}  # fmt: skip
        schemas = {"A": holding(b="B"), "B": holding(c="C", y="Y"), "C": holding(a="A"), "Y": kind}
        return {**DOCUMENT, "paths": answers, "components": {"schemas": schemas}}

    one = {"type": "object", "properties": {"v": at_component("A")}}
    old = made_of(NUMBER, {"anyOf": [one, {"type": "object", "properties": {"v": {"type": "object"}}}]})
    assert breaking(old, made_of(TEXT, one)) == {"type"}
    assert breaking(old, made_of(NUMBER, one)) == set()


def at_component(name: str) -> Content:
    return {"$ref": f"#/components/schemas/{name}"}


def removal(content: Content) -> Change:
    edited = copy.deepcopy(content)
    del edited["paths"]["/open"]
    (change,) = compare(made(content), made(edited))
    return change


def test_a_removal_says_whether_it_was_announced() -> None:
    deprecated = copy.deepcopy(DOCUMENT)
    deprecated["paths"]["/open"]["post"]["deprecated"] = True
    assert "never deprecated" in str(removal(DOCUMENT))
    assert "after it had been deprecated" in str(removal(deprecated))
    assert removal(deprecated).level == "breaking"


def test_a_change_names_operation_place_both_values_reason_and_pointer() -> None:
    edited = copy.deepcopy(DOCUMENT)
    put(f"{LIMIT} schema", "maximum", 8)(edited)
    (change,) = compare(made(DOCUMENT), made(edited))
    assert str(change) == (
        "GET /things/{id}: query parameter limit: maximum was 9, is 8: a client that sends what was valid until now is "
        "refused [request maximum, /paths/~1things~1{id}/get/parameters/0/schema]"
    )


def test_every_operation_is_found() -> None:
    titles = [operation.title for operation in operations_of(read_document(_text(), name="a document")).values()]
    assert titles == ["GET /things/{id}", "PUT /things/{id}", "POST /open"]


def _text() -> str:
    return json.dumps(DOCUMENT)
