"""Bank cards, debit and credit."""

from __future__ import annotations

from ingest.mask.recognizers.checks import only_digits, passes_luhn
from ingest.mask.recognizers.rule import NO_ALNUM_AFTER, NO_ALNUM_BEFORE, SERIAL_WORDS, Rule, Shape

# Scheme and length of the cards in use; anything else that passes Luhn needs a word that says it is a card.
KNOWN_CARDS = (
    r"(?:62[0-9]{14,17}|4[0-9]{15}|5[1-5][0-9]{14}|2[2-7][0-9]{14}|3[47][0-9]{13}|35[0-9]{14}|6(?:011|5[0-9]{2})[0-9]{12}"
    r"|955[0-9]{16})"
)
BANK_CARD = Rule(
    "BANK_CARD",
    (
        Shape("known issuer", rf"{NO_ALNUM_BEFORE}(?<![0-9]\.){KNOWN_CARDS}{NO_ALNUM_AFTER}", 0.6),
        Shape(
            "by four",
            rf"{NO_ALNUM_BEFORE}[2-9][0-9]{{3}}([ -])[0-9]{{4}}\1[0-9]{{4}}\1"
            rf"(?:[0-9]{{4}}(?:\1[0-9]{{1,3}})?|[0-9]{{1,3}}){NO_ALNUM_AFTER}(?![ -][0-9])",
            0.7,
        ),
        Shape("4-6-5", rf"{NO_ALNUM_BEFORE}3[47][0-9]{{2}}([ -])[0-9]{{6}}\1[0-9]{{5}}{NO_ALNUM_AFTER}", 0.7),
        Shape("6-13", rf"{NO_ALNUM_BEFORE}62[0-9]{{4}}[ -][0-9]{{10,13}}{NO_ALNUM_AFTER}", 0.7),
        Shape("unknown issuer", rf"{NO_ALNUM_BEFORE}(?<![0-9]\.)[1-9][0-9]{{12,18}}{NO_ALNUM_AFTER}", 0.1),
    ),
    check=lambda value: None if passes_luhn(only_digits(value)) else False,
    context=(
        *("银行卡", "卡号", "信用卡", "借记卡", "储蓄卡", "账号", "账户", "帐号", "银行"),
        *("card", "visa", "mastercard", "amex", "account", "bank", "unionpay", "debit"),
    ),
    against=(*SERIAL_WORDS, "运单", "快递", "交易号", "商户号"),
    last=4,
)

RULES = (BANK_CARD,)
