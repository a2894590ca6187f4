from __future__ import annotations

import time

import pytest

from ingest.mask.finder import Finder
from ingest.mask.overlaps import Finding, without_overlaps
from ingest.mask.presidio import load_finder
from ingest.mask.recognizers import RULES
from ingest.mask.recognizers.checks import credit_code_check_character, id_check_character, is_past_date, passes_luhn


@pytest.fixture(scope="module")
def finder() -> Finder:
    return load_finder(RULES.values(), 0.4)


def found(finder: Finder, text: str) -> list[tuple[str, str]]:
    return [(one.entity, text[one.start : one.end]) for one in finder.find(text)]


FOUND = [  # text, entity, value
    ("身份证11010519491231002X号", "CN_ID_CARD", "11010519491231002X"),  # the example of GB 11643
    ("ID11010519491231002x", "CN_ID_CARD", "11010519491231002x"),
    ("身份证 110105 19491231 002X", "CN_ID_CARD", "110105 19491231 002X"),
    ("身份证号110105491231002", "CN_ID_CARD", "110105491231002"),
    ("请致电13900001234谢谢", "CN_MOBILE", "13900001234"),
    ("手机１３９００００１２３４。", "CN_MOBILE", "１３９００００１２３４"),
    ("139\u200b0000\u200b1234", "CN_MOBILE", "139\u200b0000\u200b1234"),
    ("+86 139-0000-1234", "CN_MOBILE", "+86 139-0000-1234"),
    ("1. 139 0000 1234", "CN_MOBILE", "139 0000 1234"),
    ("传真010-66668888转801", "CN_LANDLINE", "010-66668888转801"),
    ("(0755)26661234", "CN_LANDLINE", "(0755)26661234"),
    ("座机01066668888", "CN_LANDLINE", "01066668888"),
    ("卡6222 0212 3456 7890 128到账", "BANK_CARD", "6222 0212 3456 7890 128"),
    ("visa 4111111111111111", "BANK_CARD", "4111111111111111"),
    ("378282246310005", "BANK_CARD", "378282246310005"),
    ("代码91350100M000100Y43有效", "CN_CREDIT_CODE", "91350100M000100Y43"),  # the example of GB 32100
    ("护照E12345678", "CN_PASSPORT", "E12345678"),
    ("E12345678 (passport)", "CN_PASSPORT", "E12345678"),
    ("停着京A·12345和别的车", "CN_PLATE", "京A·12345"),
    ("粤BD12345充电中", "CN_PLATE", "粤BD12345"),
    ("共人民币壹佰贰拾万元整。", "MONEY", "人民币壹佰贰拾万元整"),
    ("约１，２００．５０元左右", "MONEY", "１，２００．５０元"),
    ("三百万元", "MONEY", "三百万元"),
    ("worth $3.5 million now", "MONEY", "$3.5 million"),
    ("two hundred dollars", "MONEY", "two hundred dollars"),
    ("邮箱a.b+c@example.com.cn谢谢", "EMAIL_ADDRESS", "a.b+c@example.com.cn"),
    ("请写a@example.com.", "EMAIL_ADDRESS", "a@example.com"),
    ("从192.0.2.17登录", "IP_ADDRESS", "192.0.2.17"),
    ("host 2001:db8::8a2e:370:7334 up", "IP_ADDRESS", "2001:db8::8a2e:370:7334"),
    ("电话+44 20 7946 0321转接", "PHONE_NUMBER", "+44 20 7946 0321"),
    ("(212) 555-0143", "PHONE_NUMBER", "(212) 555-0143"),
    ("账号GB82WEST12345698765432收款", "IBAN_CODE", "GB82WEST12345698765432"),
    ("社会安全号219-09-9998号", "US_SSN", "219-09-9998"),
]


@pytest.mark.parametrize(("text", "entity", "value"), FOUND)
def test_a_value_is_found_with_its_exact_place(finder: Finder, text: str, entity: str, value: str) -> None:
    assert found(finder, text) == [(entity, value)]


@pytest.mark.parametrize(
    "text",
    [
        "110105194912310021",  # wrong check character
        "身份证110105194913310028",  # month 13
        "订单号13900001234",
        "SN-13900001234",
        "3.13900001234",
        "a13900001234",
        "4111111111111112",  # fails Luhn
        "91350100M000100Y44",
        "E12345678",  # nothing says that it is a passport
        "一元二次方程，2024元旦，三元锂电池",
        "版本1.2.3.4和v1.2.3.4",
        "127.0.0.1 ::1 00:1A:2B:3C:4D:5E std::vector 12:30:45",
        "icon@2x.png pkg@1.2.3 git@github.com:a/b.git",
        "400-810-8888",
        "第三章第十二条",
    ],
)
def test_what_only_looks_like_a_value_is_left_alone(finder: Finder, text: str) -> None:
    assert found(finder, text) == []


def test_the_nearer_word_tells_what_a_number_is(finder: Finder) -> None:
    text = "电话13900001234，订单号13900005678"
    assert found(finder, text) == [("CN_MOBILE", "13900001234")]


def test_values_side_by_side_are_found_one_by_one(finder: Finder) -> None:
    assert [value for _, value in found(finder, "13900001234-13900005678 ¥12.00¥13.00")] == [
        "13900001234",
        "13900005678",
        "¥12.00",
        "¥13.00",
    ]


def test_a_long_text_is_searched_in_parts_that_are_cut_at_line_breaks(finder: Finder) -> None:
    text = ("字" * 99 + "\n") * 4_999 + "字" * 95 + "电话13900001234\n" + ("字" * 99 + "\n") * 6_000 + "京A12345"
    assert found(finder, text) == [("CN_MOBILE", "13900001234"), ("CN_PLATE", "京A12345")]


def test_nothing_is_found_in_a_token(finder: Finder) -> None:
    assert found(finder, "电话<CN_LANDLINE:666688880000><CN_MOBILE:139000012340>") == []


def test_the_surer_finding_wins_and_of_equally_sure_ones_the_longer() -> None:
    short, long = Finding("A", 5, 9, 0.6), Finding("B", 3, 9, 0.6)
    sure, apart = Finding("C", 0, 4, 0.9), Finding("D", 9, 12, 0.1)
    assert without_overlaps([short, long]) == [long]
    assert without_overlaps([short, long, sure]) == [sure, short]
    assert without_overlaps([apart, short]) == [short, apart]


def test_checksums_agree_with_the_examples_of_their_standards() -> None:
    assert id_check_character("11010519491231002") == "X"
    assert id_check_character("44052418800101001") == "4"
    assert credit_code_check_character("91350100M000100Y4") == "3"
    assert passes_luhn("378282246310005")
    assert not passes_luhn("378282246310006")
    assert not passes_luhn("0000000000000000")


def test_a_date_of_birth_is_a_day_that_has_been() -> None:
    assert is_past_date("20000229")
    assert not is_past_date("19000229")
    assert not is_past_date("99991231")


@pytest.mark.parametrize("unit", ["1 2 ", "a.b@", "12-", "一百", "one ", "1,000,"])
def test_time_grows_with_the_length_of_hostile_text_and_not_with_its_square(finder: Finder, unit: str) -> None:
    def seconds(length: int) -> float:
        started = time.process_time()
        finder.find(unit * (length // len(unit)))
        return time.process_time() - started

    seconds(1_000)  # compiles the patterns
    short, long = (min(seconds(length) for _ in range(3)) for length in (6_000, 48_000))
    assert long < 32 * max(short, 0.02)  # 8 times as long; the square would be 64


def test_a_megabyte_of_digits_takes_seconds_at_most(finder: Finder) -> None:
    started = time.process_time()
    assert found(finder, "1234567890" * 100_000) == []
    assert time.process_time() - started < 10
