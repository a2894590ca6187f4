"""Checksums and dates inside numbers. Every function takes any text and never raises."""

from __future__ import annotations

from datetime import date

ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
ID_CHECK_CHARACTERS = "10X98765432"
CREDIT_CODE_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"  # without I, O, S, V, Z
CREDIT_CODE_WEIGHTS = (1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28)


def only_digits(text: str) -> str:
    return "".join(letter for letter in text if "0" <= letter <= "9")


def passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812; a number of one repeated digit is a placeholder, not a card."""
    if not digits.isdecimal() or len(set(digits)) == 1:
        return False
    total = 0
    for position, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if position % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def is_past_date(digits: str) -> bool:
    """Whether YYYYMMDD is a day from 1850 until today: a date of birth."""
    try:
        day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:8]))
    except ValueError:
        return False
    return date(1850, 1, 1) <= day <= date.today()


def id_check_character(first17: str) -> str:
    """ISO 7064 MOD 11-2 over 17 digits."""
    total = sum(int(digit) * weight for digit, weight in zip(first17, ID_WEIGHTS, strict=True))
    return ID_CHECK_CHARACTERS[total % 11]


def credit_code_check_character(first17: str) -> str:
    """GB 32100 MOD 31 over 17 characters of its alphabet."""
    values = (CREDIT_CODE_ALPHABET.index(letter) for letter in first17)
    total = sum(value * weight for value, weight in zip(values, CREDIT_CODE_WEIGHTS, strict=True))
    return CREDIT_CODE_ALPHABET[(31 - total % 31) % 31]
