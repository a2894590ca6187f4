"""The declarations, the Recorder, and merging what several of them say; read back by Prometheus' own parser."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from serve_app.telemetry import metrics
from serve_app.telemetry.exposition import PROCESS_LABEL, merge
from serve_app.telemetry.metrics import Kind, Metric, MetricSink
from serve_app.telemetry.ray_metrics import RayMetrics
from serve_app.telemetry.recorder import EXPORT_EVERY_S, Recorder

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "metrics.md"
COUNTER = Metric("test_texts", "counter", "texts", "Texts.", ("model", "class"))
GAUGE = Metric("test_bytes", "gauge", "bytes", "Bytes.", ("model",))
HISTOGRAM = Metric("test_seconds", "histogram", "seconds", "Seconds.", ("model",), (0.1, 1.0))
UNLABELLED = Metric("test_starts", "counter", "requests", "Starts.", ())

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(text: bytes) -> Samples:
    """Every sample, by name and labels. Fails if two have the same."""
    found = [
        ((sample.name, frozenset(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    ]
    assert len({key for key, _ in found}) == len(found)
    return dict(found)


def key(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


class Sink:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float, tuple[str, ...]]] = []

    def inc(self, metric: Metric, amount: float, *label_values: str) -> None:
        self.told.append(("inc", metric.name, amount, label_values))

    def set(self, metric: Metric, value: float, *label_values: str) -> None:
        self.told.append(("set", metric.name, value, label_values))

    def observe(self, metric: Metric, value: float, *label_values: str) -> None:
        self.told.append(("observe", metric.name, value, label_values))

    def take(self) -> list[tuple[str, str, float, tuple[str, ...]]]:
        told, self.told = self.told, []
        return told


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_counter_adds_up_for_each_combination_of_labels() -> None:
    recorder = Recorder()
    recorder.inc(COUNTER, 2, "m", "bulk")
    recorder.inc(COUNTER, 3, "m", "bulk")
    recorder.inc(COUNTER, 1, "m", "interactive")
    assert read(recorder.samples()) == {
        ("test_texts_total", frozenset({("model", "m"), ("class", "bulk")})): 5,
        ("test_texts_total", frozenset({("model", "m"), ("class", "interactive")})): 1,
    }


def test_a_gauge_keeps_the_last_value() -> None:
    recorder = Recorder()
    recorder.set(GAUGE, 7, "m")
    recorder.set(GAUGE, 4, "m")
    assert read(recorder.samples()) == {key("test_bytes", model="m"): 4}


def test_a_histogram_counts_a_value_on_the_bound_as_below_it() -> None:
    recorder = Recorder()
    for value in (0.05, 0.1, 0.2, 30.0):
        recorder.observe(HISTOGRAM, value, "m")
    assert read(recorder.samples()) == {
        key("test_seconds_bucket", model="m", le="0.1"): 2,
        key("test_seconds_bucket", model="m", le="1.0"): 3,
        key("test_seconds_bucket", model="m", le="+Inf"): 4,
        key("test_seconds_count", model="m"): 4,
        key("test_seconds_sum", model="m"): pytest.approx(30.35),
    }


def test_label_values_of_any_form_are_read_back() -> None:
    recorder = Recorder()
    odd = 'a"b\\c\nd{e} f,模型\u2028'
    recorder.inc(COUNTER, 1, odd, "bulk")
    assert key("test_texts_total", model=odd, **{"class": "bulk"}) in read(recorder.samples())


def test_a_recorder_without_recordings_has_an_empty_text() -> None:
    assert Recorder().samples() == b""


def test_two_recorders_share_nothing() -> None:
    first, second = Recorder(), Recorder()
    first.inc(UNLABELLED, 1)
    second.inc(UNLABELLED, 5)
    assert read(first.samples()) == {key("test_starts_total"): 1}


@pytest.mark.parametrize(
    ("record", "error", "says"),
    [
        (lambda r: r.inc(GAUGE, 1, "m"), TypeError, "test_bytes is a gauge, not a counter"),
        (lambda r: r.set(COUNTER, 1, "m", "bulk"), TypeError, "is a counter, not a gauge"),
        (lambda r: r.observe(GAUGE, 1, "m"), TypeError, "is a gauge, not a histogram"),
        (lambda r: r.inc(COUNTER, 1, "m"), ValueError, "takes the labels .*, not 1 values"),
        (lambda r: r.set(GAUGE, 1, "m", "bulk"), ValueError, "not 2 values"),
        (lambda r: r.observe(HISTOGRAM, 1), ValueError, "not 0 values"),
        (lambda r: r.inc(COUNTER, 1, "m", 200), TypeError, "are strings: model, class"),
        (lambda r: r.inc(UNLABELLED, -1), ValueError, "cannot grow by -1"),
    ],
)
def test_a_recording_that_does_not_fit_its_declaration_is_refused(
    record: Callable[[Recorder], None], error: type[Exception], says: str
) -> None:
    recorder = Recorder()
    with pytest.raises(error, match=says):
        record(recorder)
    assert recorder.samples() == b""


def test_a_second_declaration_of_a_name_is_refused() -> None:
    recorder = Recorder()
    recorder.inc(UNLABELLED, 1)
    with pytest.raises(ValueError, match="declared twice"):
        recorder.set(Metric(UNLABELLED.name, "gauge", "requests", "Starts.", ()), 1)


def test_threads_lose_no_recording() -> None:
    recorder, rounds = Recorder(), 2_000

    def work() -> None:
        for _ in range(rounds):
            recorder.inc(UNLABELLED, 1)
            recorder.observe(HISTOGRAM, 0.5, "m")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    samples = read(recorder.samples())
    assert samples[key("test_starts_total")] == 4 * rounds
    assert samples[key("test_seconds_count", model="m")] == 4 * rounds


def test_counters_go_on_as_their_growth_and_gauges_as_they_stand_but_not_at_every_recording() -> None:
    sink, clock = Sink(), Clock()
    recorder = Recorder(sink, clock)
    recorder.inc(UNLABELLED, 1)
    recorder.set(GAUGE, 5, "m")
    recorder.inc(UNLABELLED, 2)
    assert sink.take() == []
    clock.now = EXPORT_EVERY_S
    recorder.inc(UNLABELLED, 4)
    assert sink.take() == [("inc", "test_starts", 7, ()), ("set", "test_bytes", 5, ("m",))]
    clock.now = 1.9 * EXPORT_EVERY_S
    recorder.inc(UNLABELLED, 8)
    assert sink.take() == []
    clock.now = 2 * EXPORT_EVERY_S
    recorder.set(GAUGE, 6, "m")
    assert sink.take() == [("inc", "test_starts", 8, ()), ("set", "test_bytes", 6, ("m",))]


def test_observations_go_on_at_once_and_take_along_what_is_due() -> None:
    sink, clock = Sink(), Clock()
    recorder = Recorder(sink, clock)
    recorder.observe(HISTOGRAM, 0.5, "m")
    assert sink.take() == [("observe", "test_seconds", 0.5, ("m",))]
    recorder.inc(UNLABELLED, 1)
    clock.now = EXPORT_EVERY_S
    recorder.observe(HISTOGRAM, 0.7, "m")
    assert sink.take() == [("observe", "test_seconds", 0.7, ("m",)), ("inc", "test_starts", 1, ())]


@pytest.mark.parametrize("ask", [Recorder.flush, Recorder.samples])
def test_what_waits_goes_on_when_asked_and_only_once(ask: Callable[[Recorder], object]) -> None:
    sink = Sink()
    recorder = Recorder(sink, Clock())
    recorder.inc(UNLABELLED, 3)
    ask(recorder)
    ask(recorder)
    assert sink.take() == [("inc", "test_starts", 3, ())]


def test_a_gauge_is_repeated_although_it_stands_still() -> None:
    sink = Sink()
    recorder = Recorder(sink, Clock())
    recorder.set(GAUGE, 3, "m")
    recorder.flush()
    recorder.flush()
    assert sink.take() == [("set", "test_bytes", 3, ("m",))] * 2


def test_ray_gets_the_names_buckets_and_labels_of_the_declarations(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[object, ...]] = []

    class Fake:
        def __init__(self, *declared: object) -> None:
            made.append(declared)

        def record(self, value: float, tags: dict[str, str]) -> None:
            made.append((value, tags))

        inc = set = observe = record

    for name in ("Counter", "Gauge", "Histogram"):
        monkeypatch.setattr(f"serve_app.telemetry.ray_metrics.{name}", Fake)
    ray_metrics: MetricSink = RayMetrics()
    ray_metrics.inc(COUNTER, 2, "m", "bulk")
    ray_metrics.inc(COUNTER, 3, "m", "bulk")
    ray_metrics.set(GAUGE, 4, "m")
    ray_metrics.observe(HISTOGRAM, 0.5, "m")
    assert made == [
        ("test_texts", "Texts.", ("model", "class")),
        (2, {"model": "m", "class": "bulk"}),
        (3, {"model": "m", "class": "bulk"}),
        ("test_bytes", "Bytes.", ("model",)),
        (4, {"model": "m"}),
        ("test_seconds", "Seconds.", [0.1, 1.0], ("model",)),
        (0.5, {"model": "m"}),
    ]


def test_ray_itself_takes_every_declared_metric() -> None:
    recorder = Recorder(RayMetrics())
    record = {"counter": recorder.inc, "gauge": recorder.set, "histogram": recorder.observe}
    for metric in metrics.ALL:
        record[metric.kind](metric, 1.0, *("x" for _ in metric.labels))
    recorder.flush()


def test_merging_keeps_every_sample_apart_by_replica() -> None:
    first, second = Recorder(), Recorder()
    for recorder, amount in ((first, 1), (second, 2)):
        recorder.inc(UNLABELLED, amount)
        recorder.set(GAUGE, amount, "m")
    assert read(merge({"Router#a": first.samples(), 'odd "\\n\n': second.samples()})) == {
        key("test_starts_total", replica="Router#a"): 1,
        key("test_starts_total", replica='odd "\\n\n'): 2,
        key("test_bytes", model="m", replica="Router#a"): 1,
        key("test_bytes", model="m", replica='odd "\\n\n'): 2,
    }


def test_a_merged_family_has_one_header_and_its_samples_directly_below() -> None:
    part = b"# HELP a_total As.\n# TYPE a_total counter\na_total 1\n# HELP b Bs.\n# TYPE b gauge\nb 2\n"
    newer = b"# HELP b Other words.\n# TYPE b gauge\nb 3\n# HELP a_total As.\n# TYPE a_total counter\na_total 4"
    assert merge({"x": part, "y": newer}) == (
        b'# HELP a_total As.\n# TYPE a_total counter\na_total{replica="x"} 1\na_total{replica="y"} 4\n'
        b'# HELP b Bs.\n# TYPE b gauge\nb{replica="x"} 2\nb{replica="y"} 3\n'
    )


def test_merging_copes_with_silent_processes_and_other_comments() -> None:
    odd = b'\nlonely 1\n# made by hand\n# TYPE a gauge\n\na {} 2\n# note\na{b="c"} 3\n# EOF'
    assert read(merge({"x": b"", "y": odd})) == {
        key("lonely", replica="y"): 1,
        key("a", replica="y"): 2,
        key("a", b="c", replica="y"): 3,
    }
    assert b"EOF" not in merge({"y": odd})
    assert merge({}) == b""


KINDS: tuple[Kind, ...] = ("counter", "gauge", "histogram")
names = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: not name.startswith("__"))
label_values = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
amounts = st.floats(0, 1e12)


@st.composite
def declared(draw: st.DrawFn) -> list[Metric]:
    """Metrics of several names; the names differ so that no suffix makes two alike."""
    metrics_: list[Metric] = []
    for index in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(KINDS))
        labels = draw(st.lists(names.filter(lambda name: name not in {"le", PROCESS_LABEL}), max_size=3, unique=True))
        bounds = (
            draw(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=4, unique=True)) if kind == "histogram" else []
        )
        help_ = draw(label_values)
        metrics_.append(Metric(f"m{index}", kind, "texts", help_, tuple(labels), tuple(sorted(bounds))))
    return metrics_


@st.composite
def processes(draw: st.DrawFn) -> Mapping[str, Recorder]:
    """Recorders of several processes that share declarations, each with some recordings."""
    metrics_ = draw(declared())
    recorders = {name: Recorder() for name in draw(st.sets(label_values, max_size=4))}
    for recorder, metric in itertools.product(recorders.values(), metrics_):
        record = {"counter": recorder.inc, "gauge": recorder.set, "histogram": recorder.observe}[metric.kind]
        for _ in range(draw(st.integers(0, 3))):
            record(metric, draw(amounts), *(draw(label_values) for _ in metric.labels))
    return recorders


@settings(max_examples=60, deadline=None)
@given(processes())
def test_merging_loses_nothing_and_invents_nothing(recorders: Mapping[str, Recorder]) -> None:
    parts = {name: recorder.samples() for name, recorder in recorders.items()}
    expected = {
        (name, labels | {(PROCESS_LABEL, process)}): value
        for process, part in parts.items()
        for (name, labels), value in read(part).items()
    }
    merged = merge(parts)
    assert read(merged) == expected
    headers = re.findall(rb"^# TYPE .*$", merged, re.MULTILINE)
    assert len(headers) == len(set(headers))


def test_names_are_unique_and_leave_suffixes_to_the_exporters() -> None:
    assert len({metric.name for metric in metrics.ALL}) == len(metrics.ALL) >= 20
    for metric in metrics.ALL:
        assert re.fullmatch(r"(embed|ingest)_[a-z_]+(?<!_total)(?<!_sum)(?<!_count)(?<!_bucket)", metric.name)
        assert metric.help.endswith(".")


def test_labels_leave_room_for_the_ones_added_on_the_way() -> None:
    assert {label for metric in metrics.ALL for label in metric.labels} == {
        "model", "class", "status", "kind", "reason", "collection", "outcome", "deployment"
    }  # fmt: skip


def test_exactly_the_histograms_have_buckets_and_they_ascend() -> None:
    assert [m.name for m in metrics.ALL if bool(m.buckets) != (m.kind == "histogram")] == []
    assert [m.name for m in metrics.ALL if list(m.buckets) != sorted(set(m.buckets))] == []


def test_a_name_says_its_unit() -> None:
    words = {"tokens/s": "tokens_per_second", "ratio": "ratio", "seconds": "seconds", "bytes": "bytes"}
    told = {m.name: words[m.unit] for m in metrics.ALL if m.unit in words}
    assert [name for name, word in told.items() if not name.endswith(word)] == []


def rows() -> Iterator[str]:
    yield "| name | kind | unit | labels | meaning |"
    yield "|---|---|---|---|---|"
    for metric in metrics.ALL:
        name = f"{metric.name}_total" if metric.kind == "counter" else metric.name
        labels = " ".join(f"`{label}`" for label in metric.labels)
        yield f"| `{name}` | {metric.kind} | {metric.unit} | {labels} | {metric.help} |"


def test_the_documentation_has_the_table_of_the_declarations() -> None:
    lines = DOCUMENTATION.read_text(encoding="utf-8").splitlines()
    table = itertools.takewhile(
        lambda line: line.startswith("|"), itertools.dropwhile(lambda line: "|" not in line, lines)
    )
    assert list(table) == list(rows())


def test_the_documentation_names_no_metric_that_there_is_not() -> None:
    exported = {row.split("`")[1] for row in rows() if "`" in row}
    suffixed = {m.name + suffix for m in metrics.ALL for suffix in ("_bucket", "_sum", "_count") if m.buckets}
    named = set(re.findall(r"\b(?:ray_)?((?:embed|ingest)_[a-z_]+[a-z])", DOCUMENTATION.read_text(encoding="utf-8")))
    assert named - exported - suffixed <= {"embed_engine"}  # the prefix, in prose
