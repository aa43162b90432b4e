from decimal import Decimal

import pytest

from app.money import CURRENCIES, count_minor_units, parse_amount


@pytest.mark.parametrize(
    ("given", "amount"),
    [
        ("100.00", "100.00"),
        ("100", "100.00"),
        ("0.5", "0.50"),
        ("99999999.99", "99999999.99"),
        (1, "1.00"),
        (99_999_999, "99999999.00"),
        (100.0, "100.00"),
        (19.99, "19.99"),
        (0.57, "0.57"),
        (1.1 * 3, None),
        (0.1 + 0.2, None),
        (Decimal("7.5"), "7.50"),
        (Decimal("7.500"), "7.50"),
        (Decimal("7.501"), None),
        (Decimal("NaN"), None),
        (Decimal("Infinity"), None),
        (0, None),
        (-1, None),
        (10**18, None),
        (10**400, None),
        (1e18, None),
        (1e-7, None),
        (float("nan"), None),
        (float("-inf"), None),
        (True, None),
        (None, None),
        ([], None),
        ("", None),
        ("1,00", None),
        ("1e2", None),
        (" 1", None),
        ("1_0", None),
        ("\u0663", None),
        ("0.49", None),
        ("100000000.00", None),
    ],
)
def test_an_amount_is_a_decimal_that_can_be_paid_or_refused(given, amount):
    if amount is None:
        with pytest.raises(ValueError, match="must"):
            parse_amount(given)
        return

    parsed = parse_amount(given)

    assert isinstance(parsed, Decimal)
    assert str(parsed) == amount


@pytest.mark.parametrize(
    ("amount", "currency", "units"),
    [
        ("10.00", "eur", 1000),
        ("0.50", "usd", 50),
        ("99999999.99", "gbp", 9_999_999_999),
        ("1000.00", "jpy", 1000),
        ("1000.50", "jpy", None),
        ("500.00", "krw", 500),
        ("0.50", "vnd", None),
        ("5.00", "isk", 500),
        ("5.50", "isk", None),
        ("10.05", "kwd", 10_050),
        ("1.23", "bhd", 1230),
        ("10.45", "huf", 1045),
        ("1.00", "ugx", None),
        ("1.00", "EUR", None),
        ("1.00", "xxx", None),
        ("1.00", "", None),
    ],
)
def test_minor_units_are_counted_as_the_currency_does(amount, currency, units):
    if units is None:
        with pytest.raises(ValueError, match="must be"):
            count_minor_units(Decimal(amount), currency)
    else:
        assert count_minor_units(Decimal(amount), currency) == units


def test_a_thousandth_is_never_the_last_digit():
    """Stripe refuses amounts of three-decimal currencies that do not end in 0."""
    for currency in CURRENCIES:
        units = count_minor_units(Decimal("1234.00"), currency)
        assert units in {1234, 123_400, 1_234_000}
        assert units != 1_234_000 or count_minor_units(Decimal("0.99"), currency) % 10 == 0


def test_currencies_are_codes_of_three_letters():
    assert len(CURRENCIES) > 130
    assert all(len(code) == 3 and code.isascii() and code.islower() for code in CURRENCIES)
