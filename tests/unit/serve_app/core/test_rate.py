from __future__ import annotations

import pytest

from serve_app.core.rate import TokenRate


def land_busily(rate: TokenRate, tokens: int, every_s: float, times: int, start: float = 100.0) -> float:
    """Slices that land evenly while enough waits; the time of the last one."""
    for index in range(times):
        rate.landed(tokens, start + index * every_s, is_busy=True)
    return start + (times - 1) * every_s


def test_nothing_is_known_at_first() -> None:
    assert TokenRate().tokens_per_s is None


def test_what_lands_while_more_waits_is_the_rate() -> None:
    rate = TokenRate()
    land_busily(rate, tokens=500, every_s=0.1, times=50)
    assert rate.tokens_per_s == pytest.approx(5000.0)


def test_a_moment_is_not_enough_to_know() -> None:
    rate = TokenRate()
    land_busily(rate, tokens=500, every_s=0.1, times=3)
    assert rate.tokens_per_s is None


def test_quiet_time_does_not_count() -> None:
    rate = TokenRate()
    last = land_busily(rate, tokens=500, every_s=0.1, times=50)
    rate.landed(500, last + 0.1, is_busy=False)
    for index in range(100):
        rate.landed(10, last + 60.0 * (index + 1), is_busy=False)
    assert rate.tokens_per_s == pytest.approx(5000.0)


def test_the_rate_follows_a_change_within_seconds() -> None:
    rate = TokenRate()
    last = land_busily(rate, tokens=500, every_s=0.1, times=100)
    land_busily(rate, tokens=100, every_s=0.1, times=200, start=last)
    assert rate.tokens_per_s == pytest.approx(1000.0, rel=0.1)


def test_a_slice_that_failed_took_time_and_brought_nothing() -> None:
    rate = TokenRate()
    last = land_busily(rate, tokens=500, every_s=0.1, times=100)
    before = rate.tokens_per_s
    rate.landed(0, last + 1.0, is_busy=True)
    assert before is not None
    assert rate.tokens_per_s is not None
    assert rate.tokens_per_s < 0.9 * before


def test_the_word_of_the_replicas_counts_until_there_is_a_measurement() -> None:
    rate = TokenRate()
    rate.reported(0.0)
    assert rate.tokens_per_s is None
    rate.reported(800.0)
    rate.reported(0.0)
    assert rate.tokens_per_s == 800.0
    land_busily(rate, tokens=500, every_s=0.1, times=50)
    assert rate.tokens_per_s == pytest.approx(5000.0)


@pytest.mark.parametrize("reported", [None, 800.0])
def test_when_only_failed_slices_landed_there_is_no_measurement(reported: float | None) -> None:
    rate = TokenRate()
    rate.reported(reported or 0.0)
    land_busily(rate, tokens=0, every_s=0.1, times=50)
    assert rate.tokens_per_s == reported


def test_a_measurement_fades_when_all_slices_have_failed_for_long() -> None:
    rate = TokenRate()
    last = land_busily(rate, tokens=500, every_s=0.1, times=50)
    land_busily(rate, tokens=0, every_s=1.0, times=3600, start=last)
    assert rate.tokens_per_s is None


def test_a_rate_that_was_reported_far_too_low_is_corrected_by_what_comes_back_of_a_queue_that_is_never_busy() -> None:
    rate = TokenRate()
    rate.reported(10.0)
    for landing in range(100):
        rate.landed(100, landing * 0.1, is_busy=False)
    assert rate.tokens_per_s == pytest.approx(1000.0, rel=0.2)


def test_a_quiet_hour_does_not_slow_what_the_replicas_report() -> None:
    rate = TokenRate()
    rate.reported(800.0)
    rate.landed(100, 1.0, is_busy=False)
    rate.landed(1, 3600.0, is_busy=False)
    assert rate.tokens_per_s == 800.0
