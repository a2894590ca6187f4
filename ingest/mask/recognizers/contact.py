"""Addresses and numbers that are the same everywhere, and those of other countries."""

from __future__ import annotations

import ipaddress

from ingest.mask.recognizers.china import PHONE_WORDS
from ingest.mask.recognizers.rule import NO_ALNUM_AFTER, NO_ALNUM_BEFORE, SERIAL_WORDS, Rule, Shape

FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "py", "md", "json", "xml", "html"})
HEX_GROUP = "[0-9A-Fa-f]{1,4}"
CHINA = 86


def _is_email(value: str) -> bool | None:
    """Not `icon@2x.png`, and not the login of `git@example.com:group/project.git`."""
    local, _, domain = value.rpartition("@")
    ending = domain.rpartition(".")[2].lower()
    if local == "git" or ending in FILE_ENDINGS:
        return False
    return ending.isalpha() or ending.startswith("xn--")


def _masked_email(value: str) -> str:
    local, _, domain = value.rpartition("@")
    return f"{local[0] if len(local) > 2 else ''}***@{domain}"


EMAIL = Rule(
    "EMAIL_ADDRESS",
    (
        Shape(
            "address",
            r"(?<![0-9A-Za-z._%+-])[0-9A-Za-z_][0-9A-Za-z._%+-]{0,63}@"
            r"[0-9A-Za-z](?:[0-9A-Za-z-]{0,62})(?:\.[0-9A-Za-z][0-9A-Za-z-]{0,62}){1,6}",
            0.9,
        ),
    ),
    check=_is_email,
    canonical=str.lower,
    mask=_masked_email,
)


def _is_address(value: str) -> bool | None:
    """An IP address that can belong to somebody: not loopback, not unspecified, not a C++ name like `ab::cd`."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    is_nobodys = address.is_loopback or address.is_unspecified or value == "255.255.255.255"
    is_word = address.version == 6 and not any(letter.isdecimal() for letter in value)
    return False if is_nobodys or is_word else None


def _canonical_address(value: str) -> str:
    try:
        return ipaddress.ip_address(value).exploded
    except ValueError:
        return value.lower()


IP = Rule(
    "IP_ADDRESS",
    (
        Shape("v4", r"(?<![0-9A-Za-z_.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9])", 0.6),
        Shape(
            "v6",
            rf"(?<![0-9A-Za-z:.])(?:{HEX_GROUP}(?::{HEX_GROUP}){{7}}|(?:{HEX_GROUP}(?::{HEX_GROUP}){{0,6}})?::"
            rf"(?:{HEX_GROUP}(?::{HEX_GROUP}){{0,6}})?(?:[0-9]{{1,3}}(?:\.[0-9]{{1,3}}){{3}})?)(?![0-9A-Za-z:])",
            0.6,
        ),
    ),
    check=_is_address,
    context=("ip", "地址", "服务器", "主机", "登录", "网关", "address", "server", "host", "gateway", "login", "logged"),
    against=(
        "第",
        "版本",
        "固件",
        "章",
        "节",
        "条款",
        "version",
        "release",
        "firmware",
        "section",
        "clause",
        "chapter",
        "build",
    ),
    canonical=_canonical_address,
)


def _is_phone(value: str) -> bool | None:
    """Valid somewhere, and not in mainland China, whose numbers have rules of their own."""
    import phonenumbers

    try:
        number = phonenumbers.parse(value, "US")
    except phonenumbers.NumberParseException:
        return False
    is_foreign = number.country_code != CHINA and phonenumbers.is_valid_number(number)
    return None if is_foreign else False


def _canonical_phone(value: str) -> str:
    """As `+14155550132`, whichever way it is written."""
    import phonenumbers

    try:
        number = phonenumbers.parse(value, "US")
    except phonenumbers.NumberParseException:
        return value
    return str(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164))


PHONE = Rule(
    "PHONE_NUMBER",
    (
        Shape("international", rf"(?<![0-9A-Za-z_+])\+[1-9](?:[ ().-]{{0,2}}[0-9]){{6,14}}{NO_ALNUM_AFTER}", 0.65),
        Shape(
            "North America",
            rf"{NO_ALNUM_BEFORE}(?<![0-9]\.)(?:1[ .-])?(?:\([2-9][0-9]{{2}}\)[ ]?|[2-9][0-9]{{2}}[-. ])"
            r"[2-9][0-9]{2}[-. ][0-9]{4}(?![0-9A-Za-z]|[-.][0-9])",
            0.6,
        ),
    ),
    check=_is_phone,
    context=PHONE_WORDS,
    against=SERIAL_WORDS,
    canonical=_canonical_phone,
    last=4,
)

# Presidio's own, with the words that make its weaker patterns count.
IBAN = Rule("IBAN_CODE", context=("iban", "bank", "account", "银行", "账号"), first=2, last=4)
US_SSN = Rule(
    "US_SSN", context=("social security", "ssn", "社会安全", "社保"), against=(*SERIAL_WORDS, "zip", "邮编"), last=4
)

RULES = (EMAIL, IP, PHONE, IBAN, US_SSN)
