"""`embedctl dlq` and `embedctl collections`, on a real ledger and a store that only knows names and numbers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
import typer
from typer.testing import CliRunner, Result

from cluster.commands import collections, dlq, ingest
from cluster.commands.dlq import sources_to_retry
from ingest.ledger.ledger import Ledger, open_ledger
from ingest.ledger.place import ledger_uri
from ingest.ledger.records import DeadLetter, SourceState
from ingest.settings import SourceSettings
from ingest.sinks.base import VectorSink
from ingest.sources.base import Discovery
from ingest.sources.discover import discover
from serve_app.core.errors import SetupError

OLD, LIVE, NEXT = "handbook_v1", "handbook_v2", "handbook_v3"


@dataclass
class NamesOnly:
    """As much of a store as the commands need."""

    chunks: dict[str, int]
    aliases: dict[str, str]
    dropped: list[str] = field(default_factory=list)

    def names(self) -> list[str]:
        return sorted(self.chunks)

    def target_of(self, alias: str) -> str | None:
        return self.aliases.get(alias)

    def count(self, collection: str) -> int:
        return self.chunks[collection]

    def drop(self, collection: str) -> None:
        self.chunks.pop(collection, None)
        self.dropped.append(collection)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"sqlite:{tmp_path / 'ledger.sqlite'}"


@pytest.fixture
def ledger(uri: str) -> Iterator[Ledger]:
    """With an old, a live and a half-built collection, one source and three dead letters."""
    with open_ledger(uri) as ledger:
        ledger.remember_collection("handbook", OLD, '{"model": "a", "chunks.tokens": "400"}', "live")
        ledger.remember_collection("handbook", LIVE, '{"model": "b", "chunks.tokens": "400"}', "live")
        ledger.remember_collection("handbook", NEXT, '{"model": "b", "chunks.tokens": "200"}', "building")
        ledger.finish_run(ledger.start_run("handbook", LIVE, "{}"), "done", {})
        with ledger.lease("handbook", 60) as lease:
            ledger.commit(lease, LIVE, SourceState("file:///a.md", "v", "file:///", 1, 2, 3, "0" * 32))
            for source, reason in (("b.pdf", "corrupt"), ("c.pdf", "corrupt"), ("合同\udcff.pdf", "needs_ocr")):
                ledger.bury(
                    lease,
                    LIVE,
                    DeadLetter("handbook", f"file:///{source}", source, "v", "parse", reason, "No text.", True),
                )
        yield ledger


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> NamesOnly:
    sink = NamesOnly({OLD: 1200, LIVE: 1300, "stranger": 7}, {"handbook": LIVE})

    @contextmanager
    def opened(uri: str, create: bool = True) -> Iterator[tuple[NamesOnly, str]]:
        assert not create
        yield sink, uri

    monkeypatch.setattr("ingest.sinks.registry.open_sink", opened)
    return sink


def embedctl(commands: typer.Typer, *arguments: str) -> Result:
    return CliRunner().invoke(commands, arguments, env={"COLUMNS": "250"}, catch_exceptions=True)


def printed(commands: typer.Typer, *arguments: str) -> str:
    done = embedctl(commands, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def trouble(commands: typer.Typer, *arguments: str) -> str:
    done = embedctl(commands, *arguments)
    assert isinstance(done.exception, SetupError)
    return done.exception.message


# dead letters


def test_the_list_shows_every_letter_and_counts_reasons(ledger: Ledger, uri: str) -> None:
    shown = printed(dlq.commands, "list", "--ledger", uri)
    assert all(name in shown for name in ("b.pdf", "c.pdf", "合同\\udcff.pdf", "No text."))
    assert "3 dead letters: 2 corrupt (parse), 1 needs_ocr (parse)." in shown


def test_the_list_shows_at_most_its_limit_and_counts_all(ledger: Ledger, uri: str) -> None:
    shown = printed(dlq.commands, "list", "--ledger", uri, "--reason", "corrupt", "--limit", "1")
    assert shown.count(".pdf") == 1
    assert "2 dead letters: 2 corrupt (parse)." in shown


def test_the_list_as_json_is_one_letter_a_line(ledger: Ledger, uri: str) -> None:
    lines = printed(dlq.commands, "list", "--ledger", uri, "--json").splitlines()
    assert {json.loads(line)["source_file"] for line in lines} == {"b.pdf", "c.pdf", "合同\udcff.pdf"}


def test_no_letters_are_no_table(ledger: Ledger, uri: str) -> None:
    assert printed(dlq.commands, "list", "--ledger", uri, "--collection", "mail") == "0 dead letters.\n"


def test_letters_are_cleared_by_reason_by_name_and_all(ledger: Ledger, uri: str) -> None:
    base = ("clear", "--ledger", uri, "--collection", "handbook")
    assert "Cleared 1 " in printed(dlq.commands, *base, "--reason", "needs_ocr")
    assert "Cleared 1 " in printed(dlq.commands, *base, "b.pdf")
    assert [letter.source_file for letter in ledger.letters()] == ["c.pdf"]
    assert "Cleared 1 " in printed(dlq.commands, *base, "--all")
    assert list(ledger.letters()) == []


def test_clearing_without_saying_which_clears_nothing(ledger: Ledger, uri: str) -> None:
    assert "--all" in trouble(dlq.commands, "clear", "--ledger", uri, "--collection", "handbook")
    assert len(list(ledger.letters())) == 3


def test_without_a_ledger_nothing_is_made(uri: str, tmp_path: Path) -> None:
    assert "no ledger" in trouble(dlq.commands, "list", "--ledger", uri)
    assert list(tmp_path.iterdir()) == []


def test_without_a_word_of_a_ledger_the_one_of_the_store_is_meant(tmp_path: Path) -> None:
    sink = f"milvus-lite:{tmp_path / 'vectors'}"
    open_ledger(ledger_uri("", sink)).close()
    assert printed(dlq.commands, "list", "--sink", sink) == "0 dead letters.\n"


def test_what_to_retry_is_found_by_address_by_path_and_by_reason(ledger: Ledger) -> None:
    named = sources_to_retry(ledger, "handbook", sources=["file:///b.pdf", "合同\udcff.pdf"])
    assert {letter.source_file for letter in named} == {"b.pdf", "合同\udcff.pdf"}
    assert {letter.source_file for letter in sources_to_retry(ledger, "handbook", "corrupt")} == {"b.pdf", "c.pdf"}
    assert len(sources_to_retry(ledger, "handbook")) == 3


def test_what_has_no_letter_cannot_be_retried(ledger: Ledger) -> None:
    with pytest.raises(SetupError, match=r"no dead letter for a\.md"):
        sources_to_retry(ledger, "handbook", sources=["b.pdf", "a.md"])
    with pytest.raises(SetupError, match="with the reason timeout"):
        sources_to_retry(ledger, "handbook", "timeout")


# collections


def test_collections_are_listed_with_what_they_hold_and_in_what_they_differ(
    ledger: Ledger, sink: NamesOnly, uri: str
) -> None:
    lines = printed(collections.commands, "list", "--ledger", uri).splitlines()
    (old,) = [line for line in lines if OLD in line]
    (live,) = [line for line in lines if LIVE in line]
    (building,) = [line for line in lines if NEXT in line]
    (stranger,) = [line for line in lines if "stranger" in line]
    assert all(word in old for word in (" old ", "1,200", "never", "The model was b and is a."))
    assert all(word in live for word in (" live ", "1,300", " done "))
    assert "model" not in live
    assert all(word in building for word in (" building ", "missing", "`chunks.tokens` was 400 and is 200."))
    assert all(word in stranger for word in ("not in the ledger", " 7 "))


def test_an_alias_that_points_elsewhere_than_the_ledger_thinks_is_shown(
    ledger: Ledger, sink: NamesOnly, uri: str
) -> None:
    sink.aliases["handbook"] = OLD
    shown = printed(collections.commands, "list", "--ledger", uri)
    assert f"live, but the alias points to {OLD}" in shown


def test_an_old_collection_is_dropped_in_the_store_and_in_the_ledger(ledger: Ledger, sink: NamesOnly, uri: str) -> None:
    assert f"Dropped {OLD}" in printed(collections.commands, "drop", OLD, "--yes", "--ledger", uri)
    assert sink.dropped == [OLD]
    assert [known.physical for known in ledger.collections()] == [LIVE, NEXT]


def test_a_collection_that_is_searched_is_dropped_on_demand_only(ledger: Ledger, sink: NamesOnly, uri: str) -> None:
    assert "--live" in trouble(collections.commands, "drop", LIVE, "--yes", "--ledger", uri)
    assert (sink.dropped, len(ledger.collections())) == ([], 3)
    printed(collections.commands, "drop", LIVE, "--yes", "--live", "--ledger", uri)
    assert (sink.dropped, ledger.sources(LIVE)) == ([LIVE], {})


def test_an_alias_and_an_unknown_name_are_not_dropped(ledger: Ledger, sink: NamesOnly, uri: str) -> None:
    assert LIVE in trouble(collections.commands, "drop", "handbook", "--yes", "--ledger", uri)
    assert "no collection `nothing`" in trouble(collections.commands, "drop", "nothing", "--yes", "--ledger", uri)
    assert sink.dropped == []


def test_a_collection_the_ledger_does_not_know_and_one_the_store_has_lost_can_be_dropped(
    ledger: Ledger, sink: NamesOnly, uri: str
) -> None:
    printed(collections.commands, "drop", "stranger", "--yes", "--ledger", uri)
    printed(collections.commands, "drop", NEXT, "--yes", "--ledger", uri)
    assert sink.dropped == ["stranger", NEXT]
    assert [known.physical for known in ledger.collections()] == [OLD, LIVE]


def test_nothing_is_dropped_while_a_run_writes_or_without_a_yes(ledger: Ledger, sink: NamesOnly, uri: str) -> None:
    with ledger.lease("handbook", 60):
        assert "Another run" in trouble(collections.commands, "drop", OLD, "--yes", "--ledger", uri)
    assert embedctl(collections.commands, "drop", OLD, "--ledger", uri).exit_code == 1  # no answer
    assert (sink.dropped, len(ledger.collections())) == ([], 3)


def test_a_drop_cut_short_leaves_nothing_the_ledger_calls_stored(ledger: Ledger) -> None:
    class Failing(NamesOnly):
        def drop(self, collection: str) -> None:  # noqa: ARG002
            raise SetupError("The store is down.")

    store = cast(VectorSink, Failing({LIVE: 1}, {}))
    with pytest.raises(SetupError, match="down"):
        collections.remove(ledger, store, "handbook", LIVE)
    assert ledger.sources(LIVE) == {}


@pytest.mark.parametrize("glob", ["**/*.md", "le?se.md", "[l]ease.md"])
def test_a_retry_of_what_was_found_through_a_glob_looks_through_it_again(
    ledger: Ledger, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, glob: str
) -> None:
    for name in ("lease.md", "rent.md"):
        (tmp_path / name).write_text("text")
    first = discover([str(tmp_path / glob)], SourceSettings())
    lease_md = first.files[0]
    with ledger.lease("handbook", 60) as lease:
        letter = DeadLetter(
            "handbook", lease_md.uri, "lease.md", "v", "parse", "timeout", "Slow.", False, lease_md.root
        )
        ledger.bury(lease, LIVE, letter)
    config = tmp_path / "cluster.yaml"
    config.write_text(f"ingest: {{ledger: '{uri}'}}")
    tried: list[Discovery] = []
    monkeypatch.setattr(ingest, "_run", lambda _job, found, *_: tried.append(found))
    app = typer.Typer()
    app.command()(ingest.retry)

    printed(app, "--collection", "handbook", "--reason", "timeout", "--config", str(config))
    assert [(file.uri, file.source_file, file.root) for found in tried for file in found.files] == [
        (lease_md.uri, "lease.md", lease_md.root)
    ]
