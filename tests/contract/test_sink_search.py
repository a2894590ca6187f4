"""What every vector store must find, and what it must leave out."""

from __future__ import annotations

import pytest

from ingest.filters import parse_filter
from ingest.sinks.base import CollectionSpec, Query, VectorSink
from tests.contract.rows import EAST, SOURCE, direction, keys_found, random_vectors, row

NASTY_NAMES = [
    'it\'s "quoted".md',
    "back\\slash\\new.md",
    '" or key != "',
    "' or 1 == 1 --",
    "'; DROP TABLE contract_0; --",
    "line\nbreak\tand tab.md",
    "{key} %s %(f0)s $1.md",
    "合同（二零二四）/租赁😀.pdf",
    "not-utf8-\udcb2\udce2.txt",
]


def test_dense_hits_come_best_first_with_their_cosine(sink: VectorSink, collection: str) -> None:
    vectors = {"far": direction(-1), "near": direction(3, 4), "exact": EAST, "right": direction(0, 1)}
    sink.upsert(collection, [row(key, vector) for key, vector in vectors.items()])

    hits = sink.search(collection, Query(EAST, limit=3))
    assert [hit.key for hit in hits] == ["exact", "near", "right"]
    assert [hit.score for hit in hits] == pytest.approx([1, 0.6, 0], abs=1e-4)


def test_a_hit_tells_where_it_comes_from(sink: VectorSink, collection: str) -> None:
    path = ("第一章 总则", 'A "quoted" part', "back\\slash, [comma]", "")
    text = "租金按月支付。\n\t“€”😀\\"
    said = {"部门": "法务", "year": 2024, "share": 0.1, "is_final": True}
    sink.upsert(
        collection,
        [row("a", heading_path=path, page_number=12, page_end=13, text=text, language="zh", metadata=said)],
    )

    (hit,) = sink.search(collection, Query(EAST))
    assert (hit.key, hit.chunk_id, hit.source, hit.source_file) == ("a", "lease_a", SOURCE, "contracts/lease.md")
    assert (hit.page_number, hit.page_end, hit.heading_path) == (12, 13, path)
    assert (hit.text, hit.language, hit.metadata) == (text, "zh", said)


def test_a_chunk_without_page_or_headings_comes_back_without(sink: VectorSink, collection: str) -> None:
    sink.upsert(collection, [row("a", page_number=None, page_end=None, heading_path=())])
    (hit,) = sink.search(collection, Query(EAST))
    assert (hit.page_number, hit.heading_path) == (None, ())


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("page_number = 2", {"p2"}),
        ("page_number != 2", {"p1", "p3"}),
        ("page_number > 2", {"p3"}),
        ("page_number >= 2", {"p2", "p3"}),
        ("page_number < 2", {"p1"}),
        ("page_number <= 2", {"p1", "p2"}),
        ("page_number > -1", {"p1", "p2", "p3"}),
        ("page_number = 0", set()),
        ("ordinal >= 2 and tokens < 13", {"p2"}),
        ("title = Guide", {"p3"}),
        ("title != Guide", {"p1", "p2", "none"}),
        ("section_title = 租金", {"p2"}),
        ("heading_path = '合同 > 租金'", {"p2"}),
        ("heading_path != '合同 > 租金' and page_number > 0", {"p1", "p3"}),
        ("heading_path = 合同", set()),
        ("heading_path = ''", {"none"}),
        ("format = pdf and source_file = 'a b.pdf' and chunk_id = lease_p1", {"p1"}),
        ("section_title = ''", {"none"}),
        ("page_end > 1 and page_end != 3", {"p2"}),
        ("language = zh", {"p2"}),
        ("source != 'file:///contracts/lease.md'", {"p3"}),
        ("part = 7 and run_id = r1 and file_hash = ff", {"p1"}),
    ],
)
def test_a_filter_leaves_exactly_the_matching_chunks(
    sink: VectorSink, collection: str, expression: str, expected: set[str]
) -> None:
    rows = [
        row("p1", tokens=11, source_file="a b.pdf", format="pdf", ordinal=1, part="7", run_id="r1", file_hash="ff"),
        row("p2", page_number=2, page_end=2, ordinal=2, tokens=12, heading_path=("合同", "租金"), language="zh"),
        row("p3", page_number=3, page_end=3, ordinal=3, tokens=13, title="Guide", source="file:///guide.md"),
        row("none", page_number=None, page_end=None, ordinal=0, tokens=10, heading_path=()),
    ]
    sink.upsert(collection, rows)
    conditions = parse_filter(expression)

    assert set(keys_found(sink, collection, Query(EAST, limit=10, conditions=conditions))) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("meta.year = 2024", {"n24", "f24"}),
        ("meta.year != 2024", {"n23"}),
        ("meta.year > 2023", {"n24", "f24"}),
        ("meta.year >= 2023.5", {"n24", "f24"}),
        ("meta.year < 2024", {"n23"}),
        ("meta.year <= 2023", {"n23"}),
        ("meta.year = '2024'", {"t24"}),
        ("meta.year != '2023'", {"t24"}),
        ("meta.share = 0.1", {"n24"}),
        ("meta.share < 0.5 and meta.year = 2024", {"n24"}),
        ("meta.final = true", {"n24"}),
        ("meta.final != true", {"n23"}),
        ("meta.final = false", {"n23"}),
        ("meta.final = 'true'", {"t24"}),
        ("meta.dept = 法务", {"n24"}),
        ("meta.dept != 法务", {"n23"}),
        ('meta.dept = "it\'s \\"q\\" \\\\ %s"', {"n23"}),
        ("meta.nothing = 1", set()),
        ("meta.nothing != 1", set()),
        ("meta.nothing != a", set()),
    ],
)
def test_a_filter_on_what_users_said_knows_kinds_and_absence(
    sink: VectorSink, collection: str, expression: str, expected: set[str]
) -> None:
    rows = [
        row("n24", metadata={"year": 2024, "share": 0.1, "final": True, "dept": "法务"}),
        row("n23", metadata={"year": 2023, "final": False, "dept": 'it\'s "q" \\ %s'}),
        row("f24", metadata={"year": 2024.0}),
        row("t24", metadata={"year": "2024", "final": "true", "dept": 7}),
        row("none"),
    ]
    sink.upsert(collection, rows)
    query = Query(EAST, limit=10, conditions=parse_filter(expression))
    assert set(keys_found(sink, collection, query)) == expected


@pytest.mark.parametrize("name", NASTY_NAMES, ids=range(len(NASTY_NAMES)))
def test_a_source_with_any_name_is_found_alone(sink: VectorSink, collection: str, name: str) -> None:
    mine = row("mine", source=name, source_file=name)
    sink.upsert(collection, [mine, row("other"), row("prefix", source=name[:-1], source_file=name[:-1])])

    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    conditions = parse_filter(f"source_file = '{escaped}'")
    assert sink.keys_of(collection, name) == {"mine"}
    assert keys_found(sink, collection, Query(EAST, limit=10, conditions=conditions)) == ["mine"]


def test_a_tenant_sees_only_its_own_chunks(sink: VectorSink, collection: str) -> None:
    tenants = ["", "x", "X", "x' or 'a", '"] or tenant != "', "租户"]
    sink.upsert(collection, [row(f"k{number}", tenant=tenant) for number, tenant in enumerate(tenants)])

    found = [keys_found(sink, collection, Query(EAST, limit=10, tenant=tenant)) for tenant in [*tenants, "nobody"]]
    assert found == [["k0"], ["k1"], ["k2"], ["k3"], ["k4"], ["k5"], []]
    assert len(keys_found(sink, collection, Query(EAST, limit=10))) == len(tenants)
    both = Query(EAST, limit=10, tenant="x", conditions=parse_filter("chunk_id = lease_k2"))
    assert keys_found(sink, collection, both) == []


@pytest.mark.parametrize("expression", ["format = rare", "meta.rare = true", "language = xx and tokens > 2"])
def test_a_filter_that_one_chunk_in_a_hundred_passes_still_fills_the_limit(
    sink: VectorSink, spec: CollectionSpec, expression: str
) -> None:
    vectors = random_vectors(3_000)
    # The rare ones lie opposite to the question, where a search that filters its nearest hits only finds none.
    rare = {"format": "rare", "metadata": {"rare": True}, "language": "xx"}
    rows = [row(f"k{number}", vector) for number, vector in enumerate(vectors)]
    rows += [row(f"rare{number}", direction(-1, 0.01 * number), **rare) for number in range(30)]
    sink.ensure(spec)
    sink.upsert(spec.name, rows)
    sink.finish(spec.name)

    found = keys_found(sink, spec.name, Query(EAST, limit=20, conditions=parse_filter(expression)))
    assert sorted(found) == sorted(f"rare{number}" for number in range(29, 9, -1))
