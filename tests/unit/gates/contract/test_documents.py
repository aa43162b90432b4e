import json

import pytest

from fairlead.exceptions import ConfigurationError
from fairlead.gates.contract.documents import line_of, read_document

WHOLE = {"openapi": "3.1.0", "info": {"version": "1.0.0"}, "paths": {"/a/b": {"get": {"tags": ["x", {"y": 1}, "z"]}}}}
TEXT = json.dumps(WHOLE, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "it is not JSON"),
        ("[]", "it has no `paths`"),
        ('{"paths": []}', "it has no `paths`"),
        ('{"paths": {}, "swagger": "2.0"}', "it does not say that it is OpenAPI 3"),
        ('{"paths": {}, "openapi": "3.1.0"}', "it has no `info.version`"),
        ('{"paths": {}, "openapi": "3.1.0", "info": {"version": 1}}', "it has no `info.version`"),
    ],
)
def test_what_is_no_document_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        read_document(text, name="openapi.json")


@pytest.mark.parametrize(
    ("pointer", "line"),
    [
        ("", "{"),
        ("/info/version", '"version": "1.0.0"'),
        ("/paths/~1a~1b", '"/a/b": {'),
        ("/paths/~1a~1b/get/tags", '"tags": ['),
        ("/paths/~1a~1b/get/tags/0", '"x",'),
        ("/paths/~1a~1b/get/tags/1/y", '"y": 1'),
        ("/paths/~1a~1b/get/tags/2", '"z"'),
        ("/paths/~1a~1b/put/tags", '"/a/b": {'),
    ],
)
def test_a_pointer_stands_on_a_line(pointer: str, line: str) -> None:
    assert TEXT.splitlines()[line_of(TEXT, pointer) - 1].strip() == line
