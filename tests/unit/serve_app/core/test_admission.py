from __future__ import annotations

from dataclasses import replace

import pytest

from serve_app.core.admission import Admission, Load
from serve_app.core.errors import Overloaded

ADMISSION = Admission(max_queued_tokens=1000, max_wait_s=20.0)
LOAD = Load(queued=600, queued_first=100, next_in_turn=300, under_way=200, occupied=800, tokens_per_s=50.0)


def test_a_request_with_room_and_time_is_let_in() -> None:
    ADMISSION.check(LOAD, tokens=200, timeout_s=60.0)


def test_one_token_too_many_is_refused_until_all_that_is_here_now_has_been_computed() -> None:
    message = r"800 tokens are waiting, this request adds 201, and the limit is 1000 \(a request counts at most 250\)"
    with pytest.raises(Overloaded, match=message) as full:
        ADMISSION.check(LOAD, tokens=201, timeout_s=60.0)
    assert full.value.retry_after_s == (600 + 100 + 200) / 50.0


def test_the_largest_request_needs_no_more_room_than_a_fair_part() -> None:
    almost_full = replace(LOAD, occupied=750, tokens_per_s=None)
    ADMISSION.check(almost_full, tokens=1_000_000, timeout_s=60.0)
    with pytest.raises(Overloaded, match="this request adds 250"):
        ADMISSION.check(replace(almost_full, occupied=751), tokens=1_000_000, timeout_s=60.0)


def test_without_a_rate_the_time_to_wait_is_a_second() -> None:
    with pytest.raises(Overloaded) as full:
        ADMISSION.check(replace(LOAD, tokens_per_s=None), tokens=201, timeout_s=60.0)
    assert full.value.retry_after_s == 1.0


def test_without_a_rate_no_wait_is_too_long() -> None:
    ADMISSION.check(replace(LOAD, tokens_per_s=None), tokens=1, timeout_s=0.001)


def test_who_finds_nobody_waiting_is_let_in_whatever_is_before_it() -> None:
    ADMISSION.check(replace(LOAD, queued=0, queued_first=5000, tokens_per_s=0.1), tokens=9999, timeout_s=1.0)


def test_a_wait_beyond_the_limit_is_refused_until_all_that_is_here_now_has_been_computed() -> None:
    with pytest.raises(Overloaded, match="wait about 30 s, and the limit is 20 s") as refused:
        ADMISSION.check(replace(LOAD, tokens_per_s=20.0), tokens=1, timeout_s=60.0)
    assert refused.value.retry_after_s == (600 + 100 + 200) / 20.0


def test_a_wait_beyond_the_deadline_of_the_request_is_refused() -> None:
    with pytest.raises(Overloaded, match="wait about 12 s, and the limit is 5 s"):
        ADMISSION.check(LOAD, tokens=1, timeout_s=5.0)


def test_nobody_is_told_to_come_back_sooner_than_in_a_second() -> None:
    with pytest.raises(Overloaded) as refused:
        ADMISSION.check(replace(LOAD, tokens_per_s=10_000.0), tokens=1, timeout_s=0.01)
    assert refused.value.retry_after_s == 1.0
