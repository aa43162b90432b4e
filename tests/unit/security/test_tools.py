from fairlead._redaction import redact
from fairlead.security import tools


def test_what_a_program_said_last_holds_no_half_of_a_secret() -> None:
    secret = "canary-5a7e-of-the-tools"
    redact.register(secret)
    told = tools.last_words(f"begin {secret}{'.' * 990}\n")
    assert len(told) == 1000
    assert "tools" not in told
    assert "begin" not in told


def test_of_a_program_that_said_nothing_nothing_is_told() -> None:
    assert tools.last_words(" \n") == ""
