from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ingest.mask.width import INVISIBLE, PLACEHOLDER, unify

MIXED = st.text(alphabet="12ａＢ３＠　–—・①²\u200b\u202d\ufeff汉字a.-\n½㎡𝟙٣")


def test_digits_letters_dashes_and_spaces_get_one_width() -> None:
    assert unify("１２３ＡＢ＠．－–—　￥𝟙٣").text == "123AB@.--- ¥13"


def test_marks_beside_a_number_do_not_become_digits() -> None:
    assert unify("①13900001234²").text == "①13900001234²"


def test_a_token_is_blanked_at_its_full_length() -> None:
    assert unify("a<CN_MOBILE:0123456789ab>b").text == f"a{PLACEHOLDER * 24}b"


@given(MIXED)
def test_every_character_leads_back_to_where_it_stood(text: str) -> None:
    unified = unify(text)
    visible = [letter for letter in text if not INVISIBLE.match(letter)]
    assert len(unified.text) == len(visible)
    spans = [unified.original_span(place, place + 1) for place in range(len(unified.text))]
    assert [text[start:end] for start, end in spans] == visible


@given(MIXED)
def test_unified_text_is_its_own_unified_form(text: str) -> None:
    assert unify(unify(text).text).text == unify(text).text
