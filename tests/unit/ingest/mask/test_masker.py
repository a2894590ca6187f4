from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.mask.masker import Masker
from ingest.mask.vault import open_vault
from ingest.mask.width import TOKEN
from ingest.records import Block, Document
from ingest.settings import MaskSettings
from serve_app.core.errors import DocumentError, SetupError

SECRET = "0123456789abcdef-for-tests"
VALUES = (
    *("11010519491231002X", "13900001234", "139-0000-5678", "+86 13900004321", "010-66668888", "4111111111111111"),
    *("6222 0212 3456 7890 128", "91350100M000100Y43", "京A12345", "a.b@example.com", "192.0.2.17", "¥1,234.50"),
    *("壹佰万元整", "(212) 555-0143", "DE89 3704 0044 0532 0130 00", "219-09-9998"),
)
FILLER = st.text(alphabet="甲乙丙，。：；（）the \n", max_size=12)
WIDE = str.maketrans("0123456789", "０１２３４５６７８９")
quick = settings(max_examples=30, deadline=None)


@pytest.fixture(scope="module")
def stars() -> Masker:
    return Masker(MaskSettings(default="mask"), "")


@pytest.fixture(scope="module")
def tokens() -> Masker:
    return Masker(MaskSettings(default="token"), SECRET)


@pytest.fixture(scope="module")
def drops() -> Masker:
    return Masker(MaskSettings(default="drop"), "")


def document(*texts: str, title: str = "", metadata: dict[str, str | int | float | bool] | None = None) -> Document:
    blocks = tuple(Block("text", text) for text in texts)
    return Document("file:///a.txt", "a.txt", "txt", title, blocks, metadata=metadata or {})


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("手机13900001234。", "手机139****1234。"),
        ("手机１３９００００１２３４。", "手机１３９****１２３４。"),
        ("+86 139-0000-1234", "+86 139-****-1234"),
        ("11010519491231002X", "110***********002X"),
        ("4111 1111 1111 1111", "**** **** **** 1111"),
        ("jane.doe@example.com", "j***@example.com"),
        ("ab@example.com", "***@example.com"),
        ("共¥1,234.50", "共***"),
        ("京A12345", "京A*****"),
        ("护照E12345678", "护照E*****678"),
    ],
)
def test_stars_leave_what_is_usually_shown(stars: Masker, text: str, masked: str) -> None:
    assert stars.mask_text(text).text == masked


def test_title_headings_blocks_and_metadata_are_masked_and_counted(tokens: Masker) -> None:
    given_document = Document(
        "file:///13900001234.txt",
        "13900001234.txt",
        "txt",
        "客户13900001234",
        (Block("heading", "电话13900001234", level=2, page=3), Block("table", "| a@example.com |")),
        metadata={"电话": "13900001234", "mobile": 13900001234, "year": 2024, "ok": True},
    )
    masked, counts = tokens.mask(given_document)
    token = tokens.mask_text("13900001234").text
    assert TOKEN.fullmatch(token)
    assert masked.title == f"客户{token}"
    assert masked.blocks[0] == Block("heading", f"电话{token}", level=2, page=3)
    assert masked.blocks[1].kind == "table"
    assert masked.metadata == {"电话": token, "mobile": token, "year": 2024, "ok": True}
    assert counts == Counter({"CN_MOBILE": 4, "EMAIL_ADDRESS": 1})
    assert masked.source == given_document.source  # the identity stays


def test_the_name_of_a_field_tells_what_its_value_is(stars: Masker) -> None:
    masked, _ = stars.mask(document(metadata={"护照": "E12345678", "货号": "E12345678"}))
    assert masked.metadata == {"护照": "E*****678", "货号": "E12345678"}


def test_each_entity_has_its_policy() -> None:
    masker = Masker(MaskSettings(entities={"CN_MOBILE": "token", "EMAIL_ADDRESS": "drop", "MONEY": "mask"}), SECRET)
    masked = masker.mask_text("13900001234，a@example.com，¥5，京A12345").text
    assert re.fullmatch(r"<CN_MOBILE:[0-9a-f]{12}>，，\*\*\*，京A12345", masked)


def test_without_any_policy_nothing_changes_and_no_secret_is_needed() -> None:
    masker = Masker(MaskSettings(), "")
    assert masker.mask(document("13900001234")) == (document("13900001234"), Counter())


@pytest.mark.parametrize(
    "spellings",
    [
        ("13900001234", "+86 139-0000-1234", "１３９ ００００ １２３４", "139\u200b00001234"),
        ("11010519491231002X", "110105 19491231 002x", "身份证110105491231002"),
        ("4111111111111111", "4111-1111-1111-1111"),
        ("010-66668888", "(010)66668888", "+86 10 66668888"),
        ("A.B@example.com", "a.b@EXAMPLE.com"),
        ("2001:db8::1", "2001:0DB8:0:0:0:0:0:1"),
        ("(212) 555-0143", "+1 212-555-0143"),
    ],
)
def test_spellings_of_one_value_share_a_token(tokens: Masker, spellings: tuple[str, ...]) -> None:
    found = {token for spelling in spellings for token in TOKEN.findall(tokens.mask_text(spelling).text)}
    assert len(found) == 1


def test_tokens_depend_on_the_secret_and_on_nothing_else(tokens: Masker) -> None:
    again = Masker(MaskSettings(default="token"), SECRET)
    other = Masker(MaskSettings(default="token"), SECRET + "!")
    one, same, another = (masker.mask_text("13900001234").text for masker in (tokens, again, other))
    assert one == same != another


def test_the_policy_id_tells_apart_all_that_changes_the_masked_text(tokens: Masker) -> None:
    choices = [
        Masker(MaskSettings(default="token"), SECRET + "!"),
        Masker(MaskSettings(default="token", min_score=0.7), SECRET),
        Masker(MaskSettings(default="token", entities={"MONEY": "keep"}), SECRET),
        Masker(MaskSettings(default="mask"), ""),
    ]
    ids = {masker.policy_id for masker in choices} | {tokens.policy_id}
    assert len(ids) == 5
    assert Masker(MaskSettings(default="token"), SECRET).policy_id == tokens.policy_id
    assert not any(SECRET in one for one in ids)


@pytest.mark.parametrize(
    ("mask_settings", "secret", "says"),
    [
        (MaskSettings(entities={"CN_IDCARD": "mask"}), "", "did you mean CN_ID_CARD"),
        (MaskSettings(default="token"), "", "set EMBED_MASK_KEY"),
        (MaskSettings(default="token"), "short", "at least 16"),
    ],
)
def test_wrong_settings_are_named_with_the_fix(mask_settings: MaskSettings, secret: str, says: str) -> None:
    with pytest.raises(SetupError, match=says):
        Masker(mask_settings, secret)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "ingest.mask.finder", raising=False)
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(SetupError, match=r"embed-cluster\[pii\]"):
        Masker(MaskSettings(default="mask"), "")


def test_text_that_does_not_settle_ends_in_a_named_reason(drops: Masker) -> None:
    nested = "¥" * 40 + "5k" * 40  # each amount taken out makes another one
    with pytest.raises(DocumentError) as caught:
        drops.mask(document(nested))
    assert caught.value.reason == "unmaskable"


@quick
@given(st.lists(st.tuples(FILLER, st.sampled_from(VALUES), st.booleans()), max_size=6), FILLER)
def test_no_value_survives_and_the_text_around_is_unchanged(
    tokens: Masker, parts: list[tuple[str, str, bool]], last: str
) -> None:
    pieces = [(f"{filler}，", value.translate(WIDE) if is_wide else value) for filler, value, is_wide in parts]
    text = "".join(filler + value + "。" for filler, value in pieces) + last
    masked, counts = tokens.mask(document(text, title=text, metadata={"note": text}))
    everything = (masked.title, masked.blocks[0].text, str(masked.metadata["note"]))
    assert all(value not in one for _, value in pieces for one in everything)
    around = [filler for filler, _ in pieces]
    expected = [end + start for end, start in zip(["", *("。" for _ in pieces)], [*around, last], strict=True)]
    assert TOKEN.split(masked.title) == expected
    assert counts.total() == 3 * len(pieces)


NOISE = st.text(alphabet="0123456789 -+.@:¥$元万京AXx<>汉a１２\u200b\n（(）)", max_size=60)


@quick
@given(st.lists(st.one_of(NOISE, st.sampled_from(VALUES)), max_size=5).map("".join))
def test_masking_twice_changes_nothing_more(stars: Masker, tokens: Masker, drops: Masker, text: str) -> None:
    for masker in (stars, tokens, drops):
        once = masker.mask_text(text).text
        assert masker.mask_text(once).text == once
        assert masker.mask_text(once).counts == Counter()


@quick
@given(st.lists(st.one_of(NOISE, st.sampled_from(VALUES)), max_size=4))
def test_masking_a_masked_document_changes_nothing(tokens: Masker, texts: list[str]) -> None:
    once, _ = tokens.mask(document(*texts, title="电话", metadata={"电话": "".join(texts)}))
    assert tokens.mask(once) == (once, Counter())


@quick
@given(FILLER, st.sampled_from(VALUES), FILLER)
def test_full_width_digits_change_nothing_but_the_width(tokens: Masker, before: str, value: str, after: str) -> None:
    narrow, wide = (tokens.mask_text(f"{before}，{one}，{after}").text for one in (value, value.translate(WIDE)))
    assert narrow == wide


def test_two_values_with_a_space_between_stay_two(tokens: Masker) -> None:
    first, second = (tokens.mask_text(value).text for value in ("13900001234", "13900005678"))
    assert tokens.mask_text("13900001234 13900005678").text == f"{first} {second}"


def test_many_values_in_one_line_are_all_replaced(tokens: Masker) -> None:
    text = "，".join(f"139{number:08}" for number in range(1000))
    masked = tokens.mask_text(text)
    assert masked.counts == Counter({"CN_MOBILE": 1000})
    assert len(set(TOKEN.findall(masked.text))) == 1000


def test_the_vault_gives_back_what_a_token_stands_for(tmp_path: Path) -> None:
    path = str(tmp_path / "vault.sqlite")
    masker = Masker(MaskSettings(default="token", vault=path), SECRET)
    masked, _ = masker.mask(document("请致电139-0000-1234"))
    token = TOKEN.search(masked.blocks[0].text)
    assert token is not None
    assert open_vault(path, SECRET).original(token[0]) == "139-0000-1234"
