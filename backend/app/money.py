"""Owns what an amount of money is: a decimal, never a float, and the units that a payment vendor counts it in."""

import re
from decimal import Decimal
from typing import Final

SMALLEST: Final = Decimal("0.50")
LARGEST: Final = Decimal("99999999.99")

_TEXT: Final = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,2})?")
_PLACES: Final = 2

_NAMES: Final = """
    aed afn all amd ang aoa ars aud awg azn bam bbd bdt bgn bhd bif bmd bnd bob brl bsd btn bwp byn bzd cad cdf chf clp
    cny cop crc cve czk djf dkk dop dzd egp etb eur fjd fkp gbp gel ghs gip gmd gnf gtq gyd hkd hnl htg huf idr ils inr
    isk jmd jod jpy kes kgs khr kmf krw kwd kyd kzt lak lbp lkr lrd lsl mad mdl mga mkd mmk mnt mop mur mvr mwk mxn myr
    mzn nad ngn nio nok npr nzd omr pab pen pgk php pkr pln pyg qar ron rsd rub rwf sar sbd scr sek sgd shp sle sos srd
    std szl thb tjs tnd top try ttd twd tzs uah usd uyu uzs vnd vuv wst xaf xcd xof xpf yer zar zmw
"""

#: ISO 4217's currencies that money is paid in. UGX is left out: the vendor's documentation counts it in two ways.
CURRENCIES: Final = frozenset(_NAMES.split())

#: Currencies without a smaller unit: 500 yen are 500.
_WHOLE: Final = frozenset(
    {"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf"}
)

#: Also without one, but the vendor goes on counting it in hundredths.
_WHOLE_IN_HUNDREDTHS: Final = frozenset({"isk"})

#: Currencies of a thousand units. The last digit must be 0, which it is with two decimals.
_THOUSANDTHS: Final = frozenset({"bhd", "jod", "kwd", "omr", "tnd"})


def parse_amount(value: object) -> Decimal:
    """Return an amount given as text, integer, decimal or float; raise `ValueError` unless it is one that can be paid.

    A float stands for its shortest text: 19.99 is nineteen ninety-nine, whatever its binary digits are.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise ValueError('must be an amount, such as "100.00"')
    if isinstance(value, str) and not _TEXT.fullmatch(value):
        raise ValueError('must be an amount with two decimals at most, such as "100.00"')
    if isinstance(value, int) and not 0 <= value <= LARGEST:
        raise ValueError(f"must be {SMALLEST} to {LARGEST}")
    amount = value if isinstance(value, Decimal) else Decimal(str(value))
    if not amount.is_finite() or not SMALLEST <= amount <= LARGEST:
        raise ValueError(f"must be {SMALLEST} to {LARGEST}")
    rounded = round(amount, _PLACES)
    if rounded != amount:
        raise ValueError("must have two decimals at most")
    return rounded


def count_minor_units(amount: Decimal, currency: str) -> int:
    """Return an amount in the smallest unit of its currency, as Stripe counts it; raise `ValueError` when it has none.

    Source: https://docs.stripe.com/currencies#minor-units
    """
    if currency not in CURRENCIES:
        raise ValueError("must be a currency of ISO 4217 in lower case, such as eur")
    if currency in _WHOLE | _WHOLE_IN_HUNDREDTHS and amount != amount.to_integral_value():
        raise ValueError(f"must be a whole number: {currency} has no smaller unit")
    if currency in _WHOLE:
        factor = 1
    elif currency in _THOUSANDTHS:
        factor = 1000
    else:
        factor = 100
    return int(amount * factor)
