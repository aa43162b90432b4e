import random
import string

import pytest

from fairlead.security.madeup import is_made_up


@pytest.mark.parametrize(
    "password",
    [
        "changeme",
        "correct-horse-battery",
        "whsec_not_the_one",
        "VERIFY_PASSWORD",
        "pw",
        "p%40ss%2Fword",
        "s3cret-Zq81",
        "x" * 32,
        "replace-me-with-at-least-32-random-characters",
        "load_key(stripe)",
        "${PASSWORD}",
        "<your key>",
    ],
)
def test_what_a_person_wrote_for_an_example_is_made_up(password: str) -> None:
    assert is_made_up(password)


@pytest.mark.parametrize("start", ["ghp", "BEGIN RSA PRIVATE " + "KEY", "BEGIN OPENSSH PRIVATE " + "KEY"])
def test_the_beginning_of_a_token_is_not_made_up(start: str) -> None:
    assert not is_made_up(start)


@pytest.mark.parametrize("length", [10, 16, 32, 64])
def test_what_a_machine_made_is_not_made_up(length: int) -> None:
    chance = random.Random(length)  # noqa: S311 - the same passwords in every run
    for _ in range(200):
        # One without a digit is rare, and at ten letters looks like a word.
        letters = [*chance.choices(string.ascii_letters + string.digits, k=length - 1), chance.choice(string.digits)]
        chance.shuffle(letters)
        assert not is_made_up("".join(letters))
