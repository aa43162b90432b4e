"""Owns the words of a reminder: one text message, of one segment where the business's name allows it."""

import unicodedata
from datetime import datetime
from decimal import Decimal

from app.money import CURRENCIES, count_minor_units
from app.services.local_time import localise

#: GSM 03.38: what a segment of 160 characters can hold; anything else makes it 70. Those of the second take two places.
_BASIC = frozenset(
    "@£$¥èéùìòÇØøÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà\n\r"
)
_EXTENDED = frozenset("^{}\\[~]|€")
#: Letters and marks that Unicode does not take apart.
_SPELLED = {
    "\u2018": "'",
    "\u2019": "'",
    "\u201c": '"',
    "\u201d": '"',
    "\u2013": "-",
    "\u2014": "-",
    "Ł": "L",
    "ł": "l",
    "Đ": "D",
    "đ": "d",
}
_SEGMENT = 160
_SHORTEST_NAME = 20


def compose(*, business: str, amount: Decimal, currency: str, link: str, starts_at: datetime, timezone: str) -> str:
    """Return the text that asks to pay `amount` for the booking at `starts_at`, told in the time of `timezone`."""
    local = localise(starts_at, timezone)
    money = _render(amount, currency)
    rest = f": please pay {money} for your booking on {local:%a} {local.day} {local:%b, %H:%M}: {link}"
    return _fit(_plain(business), room=max(_SEGMENT - _length(rest), _SHORTEST_NAME)) + rest


def _render(amount: Decimal, currency: str) -> str:
    is_whole = (
        amount == amount.to_integral_value()
        and currency in CURRENCIES
        and count_minor_units(amount, currency) == amount
    )
    return f"{amount:.{0 if is_whole else 2}f} {currency.upper()}"


def _plain(name: str) -> str:
    """Return a name on one line, in the alphabet of text messages as far as its letters have one."""
    return " ".join("".join(_spell(character) for character in name).split())


def _spell(character: str) -> str:
    if character in _BASIC or character in _EXTENDED:
        return " " if character in "\n\r" else character
    if character in _SPELLED:
        return _SPELLED[character]
    if unicodedata.category(character).startswith(("C", "Z")):
        return " "
    bare = "".join(part for part in unicodedata.normalize("NFKD", character) if not unicodedata.combining(part))
    return bare if bare and all(part in _BASIC for part in bare) else character


def _fit(name: str, *, room: int) -> str:
    if _length(name) <= room:
        return name
    while name and _length(name) > room - 3:
        name = name[:-1]
    return name.rstrip() + "..."


def _length(text: str) -> int:
    return sum(2 if character in _EXTENDED else 1 for character in text)
