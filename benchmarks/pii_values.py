"""Made-up values for the labelled sentences: right in form and checksum, drawn by a seed, nobody's on purpose."""

from __future__ import annotations

import string
from collections.abc import Callable
from random import Random

ID_REGIONS = ("110101", "310104", "440305", "510107", "330106", "420111", "610113", "320508", "371402", "500103")
PROVINCES = "京沪粤苏浙川鄂陕鲁津渝闽"
PLATE_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
CREDIT_CODE = "0123456789ABCDEFGHJKLMNPQRTUWXY"
FORMAL_AMOUNTS = ("壹佰贰拾万元整", "叁仟伍佰元整", "玖万捌仟柒佰陆拾伍元肆角叁分", "贰拾万零伍佰元整", "柒佰捌拾元正")
NUMERAL_AMOUNTS = ("三百万元", "两千五百元", "一亿二千万元", "八十万元", "十五万元")
WORDED_AMOUNTS = ("five million dollars", "two hundred euros", "thirty-five thousand yuan", "nine hundred dollars")
MAIL_NAMES = ("liming", "wang.fang", "zhao_lei", "service", "h.chen88", "jane.doe", "m.o-neill", "ap+invoices", "k7")
MAIL_DOMAINS = ("example.com", "example.org", "mail.example.net", "corp.example.com.cn", "example.co.uk")
NORTH_AMERICAN_AREAS = ("212", "415", "312", "617", "206", "416", "604")


def digits(random: Random, count: int) -> str:
    return "".join(random.choices(string.digits, k=count))


def with_luhn(body: str) -> str:
    doubled = (int(digit) * (1 if place % 2 else 2) for place, digit in enumerate(reversed(body)))
    return body + str(-sum(value // 10 + value % 10 for value in doubled) % 10)


def id_card(random: Random) -> str:
    born = f"{random.randint(1950, 2005)}{random.randint(1, 12):02}{random.randint(1, 28):02}"
    body = random.choice(ID_REGIONS) + born + digits(random, 3)
    number = body + "10X98765432"[sum(int(digit) * pow(2, 17 - place, 11) for place, digit in enumerate(body)) % 11]
    grouped = f"{number[:6]} {number[6:14]} {number[14:]}"
    return random.choice((number, number, number, number.lower(), grouped))


def old_id_card(random: Random) -> str:
    born = f"{random.randint(50, 85)}{random.randint(1, 12):02}{random.randint(1, 28):02}"
    return random.choice(ID_REGIONS) + born + digits(random, 3)


def mobile(random: Random) -> str:
    number = f"1{random.choice('35789')}{digits(random, 9)}"
    dashed, spaced = "-".join((number[:3], number[3:7], number[7:])), " ".join((number[:3], number[3:7], number[7:]))
    return random.choice((number, number, number, dashed, spaced, f"+86 {number}", f"+86-{dashed}", f"(+86){number}"))


def landline(random: Random) -> str:
    area, length = random.choice((("010", 8), ("021", 8), ("0755", 8), ("0571", 8), ("0371", 8), ("0851", 7)))
    number = random.choice("2345678") + digits(random, length - 1)
    spellings = (
        f"{area}-{number}",
        f"{area}-{number}",
        f"({area}){number}",
        f"{area} {number}",
        f"+86-{area[1:]}-{number}",
    )
    return random.choice((*spellings, f"{area}-{number}转{digits(random, 3)}", f"{area}-{number}-{digits(random, 4)}"))


def bank_card(random: Random) -> str:
    start, length = random.choice(
        (("622202", 19), ("621700", 19), ("622848", 19), ("4539", 16), ("5425", 16), ("6259", 16))
    )
    number = with_luhn(start + digits(random, length - 1 - len(start)))
    by_four = " ".join(number[place : place + 4] for place in range(0, length, 4))
    return random.choice((number, number, by_four, by_four.replace(" ", "-")))


def credit_code(random: Random) -> str:
    body = random.choice(("91", "92", "12", "51", "93")) + random.choice(ID_REGIONS)
    body += "".join(random.choices("0123456789ABCDEFGHJKLMNPQRTUWXY", k=9))
    total = sum(CREDIT_CODE.index(letter) * pow(3, place, 31) for place, letter in enumerate(body))
    return body + CREDIT_CODE[-total % 31]


def passport(random: Random) -> str:
    return random.choice(
        (f"E{digits(random, 8)}", f"G{digits(random, 8)}", f"E{random.choice('ABCDEFGH')}{digits(random, 7)}")
    )


def plate(random: Random) -> str:
    start = random.choice(PROVINCES) + random.choice(PLATE_LETTERS[:12])
    new_energy = random.choice("DF") + random.choice(PLATE_LETTERS + string.digits) + digits(random, 4)
    usual = random.choice((digits(random, 5), random.choice(PLATE_LETTERS) + digits(random, 4)))
    return start + random.choice(("", "", "·", " ")) + random.choice((usual, usual, new_energy))


def email(random: Random) -> str:
    return f"{random.choice(MAIL_NAMES)}@{random.choice(MAIL_DOMAINS)}"


def ip_address(random: Random) -> str:
    v4 = ".".join(str(random.randint(1, 254)) for _ in range(4))
    v6 = f"2001:db8:{random.randint(4096, 65535):x}::{random.randint(4096, 65535):x}"
    return random.choice((v4, v4, v6))


def amount(random: Random) -> str:
    number = random.randint(1, 900_000)
    few = random.randint(2, 900)
    digits_first = (f"{number}元", f"{number:,}.00元", f"{few}万元", f"{few / 10}亿元", f"{number}美元", f"{few}块钱")
    sign_first = (f"¥{number:,}", f"￥{number}.50", f"人民币{number}元", f"RMB {number:,}", f"${number:,}.99")
    return random.choice((*digits_first, *sign_first, *FORMAL_AMOUNTS, *NUMERAL_AMOUNTS))


def english_amount(random: Random) -> str:
    number = random.randint(1, 900_000)
    few = random.randint(2, 900)
    sign_first = (
        f"${number:,}",
        f"${few / 10} million",
        f"€{number:,}.00",
        f"USD {number:,}",
        f"RMB {number:,}",
        f"£{few}k",
    )
    return random.choice((*sign_first, f"{number:,} dollars", f"{few} million yuan", f"{number} EUR", *WORDED_AMOUNTS))


def phone(random: Random) -> str:
    area, last = random.choice(NORTH_AMERICAN_AREAS), f"01{digits(random, 2)}"
    abroad = (f"+44 20 7946 0{digits(random, 3)}", f"+1 {area}-555-{last}", f"+1{area}555{last}")
    return random.choice((*abroad, f"({area}) 555-{last}", f"{area}-555-{last}"))


def iban(random: Random) -> str:
    country, length = random.choice((("DE", 18), ("FR", 23), ("ES", 20)))
    body = digits(random, length)
    if country == "FR":
        body = body[:21] + "76"
    as_number = "".join(str(int(letter, 36)) for letter in f"{body}{country}00")
    number = f"{country}{98 - int(as_number) % 97:02}{body}"
    by_four = " ".join(number[place : place + 4] for place in range(0, len(number), 4))
    return random.choice((number, by_four))


def social_security(random: Random) -> str:
    return f"{random.randint(101, 665)}-{random.randint(11, 98)}-{random.randint(1000, 9999)}"


# The name in a template, the entity, what makes a value. Full-width spellings are made from these.
KINDS: dict[str, tuple[str, Callable[[Random], str]]] = {
    "ID": ("CN_ID_CARD", id_card),
    "OLD_ID": ("CN_ID_CARD", old_id_card),
    "MOBILE": ("CN_MOBILE", mobile),
    "LANDLINE": ("CN_LANDLINE", landline),
    "CARD": ("BANK_CARD", bank_card),
    "CODE": ("CN_CREDIT_CODE", credit_code),
    "PASSPORT": ("CN_PASSPORT", passport),
    "PLATE": ("CN_PLATE", plate),
    "EMAIL": ("EMAIL_ADDRESS", email),
    "IP": ("IP_ADDRESS", ip_address),
    "AMOUNT": ("MONEY", amount),
    "SUM": ("MONEY", english_amount),
    "PHONE": ("PHONE_NUMBER", phone),
    "IBAN": ("IBAN_CODE", iban),
    "SSN": ("US_SSN", social_security),
}


def full_width(value: str) -> str:
    """The value as Chinese input methods may leave it."""
    return "".join(chr(ord(letter) + 0xFEE0) if letter.isdecimal() and letter.isascii() else letter for letter in value)
