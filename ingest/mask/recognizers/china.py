"""Numbers that mainland China gives to persons, firms and vehicles."""

from __future__ import annotations

from ingest.mask.recognizers.checks import (
    CREDIT_CODE_ALPHABET,
    credit_code_check_character,
    id_check_character,
    is_past_date,
    only_digits,
)
from ingest.mask.recognizers.rule import (
    NO_ALNUM_AFTER,
    NO_ALNUM_BEFORE,
    SERIAL_WORDS,
    Rule,
    Shape,
    canonical_letters_and_digits,
)

PROVINCES = {
    *("11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44"),
    *("45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82", "83"),
}
MONTH_AND_DAY = r"(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])"
ID_LENGTH, OLD_ID_LENGTH = 18, 15


def _is_id_card(value: str) -> bool | None:
    number = canonical_letters_and_digits(value)
    if number[:2] not in PROVINCES and number[0] != "9":  # 9: permanent residents from abroad
        return False
    if len(number) == OLD_ID_LENGTH:
        return None if is_past_date("19" + number[6:12]) else False
    return is_past_date(number[6:14]) and number[17] == id_check_character(number[:17])


def _canonical_id_card(value: str) -> str:
    """The 18 characters, for the old number too: it is the same person's."""
    number = canonical_letters_and_digits(value)
    if len(number) != OLD_ID_LENGTH:
        return number
    first17 = f"{number[:6]}19{number[6:]}"
    return first17 + id_check_character(first17)


ID_CARD = Rule(
    "CN_ID_CARD",
    (
        # Date and checksum make these certain, so letters may touch them: `ID110101…`.
        Shape(
            "18, by parts",
            rf"(?<![0-9])[1-9][0-9]{{5}}[ -]?(?:18|19|20)[0-9]{{2}}[ -]?{MONTH_AND_DAY}[ -]?[0-9]{{3}}[0-9Xx](?![0-9])",
            0.6,
        ),
        Shape("18, by four", r"(?<![0-9])[1-9][0-9]{3}([ -])(?:[0-9]{4}\1){3}[0-9][0-9Xx](?![0-9])", 0.6),
        Shape("15", rf"{NO_ALNUM_BEFORE}[1-9][0-9]{{7}}{MONTH_AND_DAY}[0-9]{{3}}{NO_ALNUM_AFTER}", 0.3),
    ),
    check=_is_id_card,
    context=(
        "身份证",
        "证件",
        "公民身份",
        "id card",
        "identity card",
        "id number",
        "id no",
        "national id",
        "citizen id",
    ),
    against=SERIAL_WORDS,
    canonical=_canonical_id_card,
    first=3,
    last=4,
)

COUNTRY = r"(?:(?:\(?\+86\)?|\(86\)|0086|86)[ -]{0,2})"
PHONE_WORDS = (
    *("手机", "电话", "联系", "致电", "拨打", "来电", "短信", "微信", "座机", "传真", "热线", "号码"),
    *("mobile", "phone", "cell", "tel", "call", "contact", "whatsapp", "wechat", "fax", "dial", "text", "reach"),
)

MOBILE = Rule(
    "CN_MOBILE",
    (
        Shape(
            "with country code",
            rf"(?<![0-9A-Za-z_+]){COUNTRY}1[3-9][0-9][ .-]?[0-9]{{4}}[ .-]?[0-9]{{4}}{NO_ALNUM_AFTER}",
            0.75,
        ),
        Shape(
            "plain",
            rf"{NO_ALNUM_BEFORE}(?<![+])(?<![0-9]\.)1[3-9][0-9]([ .-]?)[0-9]{{4}}\1[0-9]{{4}}{NO_ALNUM_AFTER}",
            0.6,
        ),
    ),
    context=PHONE_WORDS,
    against=SERIAL_WORDS,
    canonical=lambda value: only_digits(value)[-11:],
    first=3,
    last=4,
)

AREA = r"(?:10|2[0-9]|[3-9][0-9]{2})"
LOCAL = r"[2-9][0-9]{2,3}[ -]?[0-9]{4}"
EXTENSION = r"(?:[ ]?(?:转|分机|ext\.?|Ext\.?|x)[ ]?[0-9]{1,6}|-[0-9]{1,6})?"


def _canonical_landline(value: str) -> str:
    digits = only_digits(value)
    for prefix in ("0086", "86"):
        if digits.startswith(prefix) and not value.lstrip("(").startswith("0" + prefix):
            digits = digits[len(prefix) :]
    return "0" + digits.lstrip("0")


LANDLINE = Rule(
    "CN_LANDLINE",
    (
        Shape(
            "with country code",
            rf"(?<![0-9A-Za-z_+])(?:\+|00)86[ -]?\(?0?{AREA}\)?[ -]?{LOCAL}{EXTENSION}{NO_ALNUM_AFTER}",
            0.7,
        ),
        Shape("in groups", rf"{NO_ALNUM_BEFORE}(?:\(0{AREA}\)[ ]?|0{AREA}[ -]){LOCAL}{EXTENSION}{NO_ALNUM_AFTER}", 0.6),
        Shape("plain", rf"{NO_ALNUM_BEFORE}0{AREA}{LOCAL}{EXTENSION}{NO_ALNUM_AFTER}", 0.3),
    ),
    context=PHONE_WORDS,
    against=SERIAL_WORDS,
    canonical=_canonical_landline,
    last=4,
)

# The registering authority and the kinds it gives codes to.
CREDIT_CODE_START = r"(?:1[1239]|2[19]|3[1-59]|4[19]|5[1239]|6[129]|7[129]|8[19]|9[123]|[Aa][19]|[Nn][1239]|[Yy]1)"
CREDIT_CODE_LETTERS = "0-9A-HJ-NP-RTUW-Ya-hj-np-rtuw-y"


def _is_credit_code(value: str) -> bool | None:
    code = value.upper()
    if any(letter not in CREDIT_CODE_ALPHABET for letter in code):
        return False
    return None if code[17] == credit_code_check_character(code[:17]) else False


CREDIT_CODE = Rule(
    "CN_CREDIT_CODE",
    (
        Shape(
            "18",
            rf"{NO_ALNUM_BEFORE}{CREDIT_CODE_START}[0-9]{{6}}[{CREDIT_CODE_LETTERS}]{{10}}{NO_ALNUM_AFTER}",
            0.6,
        ),
    ),
    check=_is_credit_code,
    context=("信用代码", "税号", "纳税人", "统一代码", "credit code", "uscc", "taxpayer", "tax id", "registration"),
    against=SERIAL_WORDS,
    last=4,
)

PASSPORT = Rule(
    "CN_PASSPORT",
    (
        Shape("with letter", rf"{NO_ALNUM_BEFORE}[EGDSPKegdspk][ ]?[0-9]{{8}}{NO_ALNUM_AFTER}", 0.3),
        Shape(
            "with two letters", rf"{NO_ALNUM_BEFORE}(?:[Ee][A-HJ-NP-Za-hj-np-z]|MA|ma)[0-9]{{7}}{NO_ALNUM_AFTER}", 0.3
        ),
        Shape("digits only", rf"{NO_ALNUM_BEFORE}1[45][0-9]{{7}}{NO_ALNUM_AFTER}", 0.1),
    ),
    context=("护照", "出入境证件", "旅行证件", "passport", "travel document"),
    against=SERIAL_WORDS,
    first=1,
    last=3,
)

PLATE_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
PLATE_LETTER = "A-HJ-NP-Za-hj-np-z"

PLATE = Rule(
    "CN_PLATE",
    (
        Shape(
            "plate",
            rf"(?<![最更全崭])[{PLATE_PROVINCES}][ ]?[{PLATE_LETTER}][ ·•・.-]?"
            rf"(?:[0-9]{{5}}[DFdf]|[A-HJKa-hjk][0-9{PLATE_LETTER}][0-9]{{4}}"
            rf"|[0-9{PLATE_LETTER}]{{4}}[挂学警港澳]|[0-9{PLATE_LETTER}]{{5}}){NO_ALNUM_AFTER}",
            0.6,
        ),
    ),
    check=lambda value: None if len(only_digits(value)) >= 3 else False,  # plates have at most two letters of choice
    context=("车牌", "牌照", "车辆", "号牌", "轿车", "货车", "驾驶", "停车", "plate", "vehicle", "car"),
    against=("型号", "房间", "版本", "教室", "model", "room"),
    first=2,
)

RULES = (ID_CARD, MOBILE, LANDLINE, CREDIT_CODE, PASSPORT, PLATE)
