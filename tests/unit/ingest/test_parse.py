"""The way from a file to a document, and the formats that are plain text underneath."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.parse import html as html_format
from ingest.parse import markdown as markdown_format
from ingest.parse import parse, reasons
from ingest.parse import text as text_format
from ingest.parse.encoding import decode
from ingest.records import Block, Document
from ingest.settings import ParseSettings
from ingest.sources.base import SourceFile
from serve_app.core.errors import DocumentError

HEAVY = "bs4 lxml markdown_it charset_normalizer docx openpyxl pptx pypdfium2 unstructured docling"


def heading(level: int, text: str) -> Block:
    return Block("heading", text, level)


def parsed(name: str, content: bytes | str) -> Document:
    raw = content.encode() if isinstance(content, str) else content
    file = SourceFile(f"file:///{name}", f"/{name}", f"hr/{name}", name.rpartition(".")[2], len(raw))
    return parse(file, raw, ParseSettings(max_file_mib=1))


def reason(name: str, content: bytes | str) -> str:
    with pytest.raises(DocumentError) as caught:
        parsed(name, content)
    return caught.value.reason


def plain(content: str) -> list[Block]:
    return list(text_format.read(content.encode()).blocks)


def markdown(content: str) -> list[Block]:
    return list(markdown_format.read(content.encode()).blocks)


def html(content: str) -> list[Block]:
    return list(html_format.read(content.encode()).blocks)


def test_importing_the_parsers_loads_no_library() -> None:
    code = f"import sys, ingest.parse; sys.exit(any(name in sys.modules for name in '{HEAVY}'.split()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_document_knows_its_source_its_format_its_hash_and_its_title() -> None:
    content = "intro\n\n# Leave policy\n\ntext"
    document = parsed("leave.md", content)
    assert (document.source, document.source_file) == ("file:///leave.md", "hr/leave.md")
    assert (document.format, document.title) == ("md", "Leave policy")
    assert document.file_hash == hashlib.sha256(content.encode()).hexdigest()
    assert document.blocks == (Block("text", "intro"), heading(1, "Leave policy"), Block("text", "text"))


def test_a_document_without_a_title_takes_its_files_name() -> None:
    assert parsed("leave policy.md", "## Second level\n\ntext").title == "leave policy"


@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.html", "a.pdf", "a.docx", "a.xlsx", "a.pptx", "a.csv", "a.eml"])
@pytest.mark.parametrize("content", [b"", b" \n\r\n\t"])
def test_a_file_with_nothing_in_it_is_empty(name: str, content: bytes) -> None:
    assert reason(name, content) == "empty"


@pytest.mark.parametrize(
    ("name", "content"), [("a.md", "<!-- only a comment -->"), ("a.html", "<nav>Home</nav><script>x()</script>")]
)
def test_a_file_without_visible_text_is_empty(name: str, content: str) -> None:
    assert reason(name, content) == "empty"


def test_a_file_above_the_limit_is_too_large() -> None:
    assert reason("a.txt", b"word " * 2**18) == "too_large"


@pytest.mark.parametrize("name", ["a.docx", "a.xlsx", "a.pptx"])
def test_an_office_file_that_was_cut_off_is_corrupt(name: str) -> None:
    assert reason(name, b"PK\x03\x04 cut off") == "corrupt"


def test_a_pdf_that_was_cut_off_is_corrupt() -> None:
    assert reason("a.pdf", b"%PDF-1.7\ncut off") == "corrupt"


def test_the_message_of_a_refusal_does_not_repeat_the_text() -> None:
    with pytest.raises(DocumentError, match="binary, not text") as caught:
        parsed("a.txt", b"secret\0\0\0" * 9)
    assert "secret" not in caught.value.message


def test_every_reason_that_parsing_gives_is_declared_and_none_else() -> None:
    folder = Path(reasons.__file__).parent
    source = "".join(path.read_text() for path in folder.glob("*.py"))
    used = set(re.findall(r'reason="(\w+)"', source)) | set(re.findall(r'(?m)[f"`)]", "(\w+)"\)', source))
    assert set(get_args(reasons.Reason)) == set(reasons.MEANINGS) >= used


def decoded_or_reason(content: bytes) -> list[str] | str:
    """The text in a list, or why it was refused."""
    try:
        return [decode(content)]
    except DocumentError as error:
        return error.reason


CHINESE = "员工请假须提前三天提出申请。\n第二段：年假当年有效。"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030", "gbk", "big5hkscs", "shift_jis"]
)
def test_text_is_read_in_the_encoding_it_was_written_in(encoding: str) -> None:
    text = {"big5hkscs": "員工請假須提前三天提出申請，由主管核准後生效。", "shift_jis": "休暇は一週間前に申請。"}
    expected = text.get(encoding, CHINESE)
    assert decode(expected.encode(encoding)) == expected


@pytest.mark.parametrize("text", ["年", "请假", "员工手册"])
def test_even_a_few_chinese_characters_are_recognised(text: str) -> None:
    assert decode(text.encode("gbk")) == text


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_western_text_in_utf16_is_read_without_its_mark(encoding: str) -> None:
    assert decode("The pump is serviced every year, says Müller.".encode(encoding)).endswith("Müller.")


def test_western_text_in_an_old_encoding_is_read() -> None:
    text = "Les employés bénéficient d'un congé payé à Noël, même le garçon."
    assert decode(text.encode("cp1252")) == text


def test_one_broken_byte_does_not_make_a_long_text_something_else() -> None:
    assert decode(CHINESE.encode() + b"\xe5") == f"{CHINESE}\ufffd"


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))  # with zeros it may be UTF-16
def test_every_utf8_text_is_read_as_it_is_or_refused_as_binary(text: str) -> None:
    as_it_is = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert decoded_or_reason(text.encode()) in ([as_it_is], "wrong_format")


@given(st.binary(max_size=300))
def test_no_bytes_break_the_decoder(content: bytes) -> None:
    assert isinstance(decoded_or_reason(content), list) or decoded_or_reason(content) == "wrong_format"


def test_plain_text_is_divided_into_paragraphs() -> None:
    assert plain("One,\nstill one.\n \nTwo.") == [Block("text", "One,\nstill one."), Block("text", "Two.")]


def test_lines_that_only_the_margin_broke_are_joined() -> None:
    line = "The rotor weighs 31 kg, which is above the limit of 20 kg for"
    assert plain(f"{line}\none person.\nNext sentence.") == [Block("text", f"{line} one person.\nNext sentence.")]


def test_wrapped_chinese_lines_are_joined_without_a_space() -> None:
    line = "员工因个人原因需要请事假的应当提前三个工作日在系统中提交申请并经直接"
    assert plain(f"{line}\n主管批准。\n年假另行规定。") == [Block("text", f"{line}主管批准。\n年假另行规定。")]


def test_the_columns_of_a_table_in_plain_text_are_not_joined() -> None:
    rows = "\n".join(
        f"25-4{row}   Lifting fixtures at all assembly stations     Deng Kaiwen    28 November" for row in "123"
    )
    assert plain(f"Actions\n\n{rows}") == [heading(1, "Actions"), Block("text", rows)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Leave Policy\n\nText follows.", heading(1, "Leave Policy")),
        ("Intro.\n\nScope\n=====\nText.", heading(1, "Scope")),
        ("Intro.\n\nScope\n-----\nText.", heading(2, "Scope")),
        ("Intro.\n\n2 Scope\n\nText.", heading(2, "2 Scope")),
        ("Intro.\n\n2.1. Scope of use\n\nText.", heading(3, "2.1. Scope of use")),
        ("Intro.\n\nGENERAL TERMS\n\nText.", heading(2, "GENERAL TERMS")),
        ("前言。\n第三章 考勤管理\n员工须打卡。", heading(3, "第三章 考勤管理")),
        ("前言。\n第十二条 保密义务\n乙方须保密。", heading(5, "第十二条 保密义务")),
        ("前言。\n一、适用范围\n全体员工。", heading(6, "一、适用范围")),
        ("前言。\n（一）年假\n五天。", heading(7, "（一）年假")),
        ("前言。\n二、甲方的义务：\n按时付款。", heading(6, "二、甲方的义务：")),
    ],
)
def test_a_line_that_can_only_be_a_heading_is_one(text: str, expected: Block) -> None:
    assert [block for block in plain(text) if block.kind == "heading"] == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "This is only a sentence.\n\nAnother one.",
        "Shopping:\n\n1 Milk\n\n2 Bread\n\n3 Eggs",
        "Intro.\n1. Milk\n2. Bread",
        "前言。\n第十二条 乙方应当对在合作中知悉的商业秘密予以保密。\n完。",
        "名单如下：\n一、张三\n二、李四\n三、王五",
        "目录。\n第一章 总则........1\n第二章 考勤........3",
        "Name   Age   City\n-----------------\nAnn    31    Rome",
        "Signed.\n\nANN MILLER",
        "依照本制度\n第三条规定，员工须打卡。",
        "=====\n\nNothing above the line.",
    ],
)
def test_a_line_that_may_be_something_else_is_not_a_heading(text: str) -> None:
    assert [block for block in plain(text) if block.kind == "heading"] == []


def test_markdown_headings_lists_code_and_tables_are_told_apart() -> None:
    content = (
        "# Title *one*\n\nText with `code`, [a link](https://example.org) and **weight**,\nwrapped.\n\n"
        "- one\n  wrapped\n  - two\n\n3. three\n4. four\n\n```sh\nls -l\n    deep\n```\n\n"
        "Second\n------\n\n| a | b |\n|---|:-:|\n| 1 | x \\| y |\n\n> quoted\n"
    )
    assert markdown(content) == [
        heading(1, "Title one"),
        Block("text", "Text with code, a link and weight, wrapped."),
        Block("text", "- one wrapped\n  - two"),
        Block("text", "3. three\n4. four"),
        Block("code", "ls -l\n    deep"),
        heading(2, "Second"),
        Block("table", "| a | b |\n| --- | --- |\n| 1 | x \\| y |"),
        Block("text", "quoted"),
    ]


def test_wrapped_chinese_markdown_gets_no_spaces_and_keeps_hard_breaks() -> None:
    assert markdown("年假当年\n有效。  \n病假另计。") == [Block("text", "年假当年有效。\n病假另计。")]


def test_code_inside_a_list_item_stays_code() -> None:
    assert markdown("1. Run:\n\n   ```\n   make\n   ```\n\n2. Done") == [
        Block("text", "1. Run:"),
        Block("code", "make"),
        Block("text", "2. Done"),
    ]


def test_html_inside_markdown_is_read_as_html() -> None:
    content = "before\n\n<table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table>\n\n<!-- hidden -->\n"
    assert markdown(content) == [Block("text", "before"), Block("table", "| a | b |\n| --- | --- |\n| 1 | 2 |")]


def test_front_matter_is_not_text_but_may_name_the_title() -> None:
    parsed = markdown_format.read(b"---\ntitle: 'Leave policy'\ndraft: true\n---\ntext\n")
    assert (parsed.title, parsed.blocks) == ("Leave policy", (Block("text", "text"),))


def test_html_is_read_as_its_reader_sees_it() -> None:
    content = """<html><head><title>Site</title><style>p {}</style></head><body>
      <header><h1>Shop</h1></header><nav><a href=/>Home</a></nav>
      <main><h1>Frequently asked <em>questions</em></h1>
      <p>Some <b>bold</b>
         text<br>on two lines.</p>
      <ul><li>one<li><p>two</p><ol><li>inner</ol></ul>
      <pre>  x = 1
  y = 2
</pre><div>loose text<p hidden>secret</p></div><script>track()</script></main>
      <footer>Imprint</footer></body></html>"""
    assert html(content) == [
        heading(1, "Frequently asked questions"),
        Block("text", "Some bold text\non two lines."),
        Block("text", "- one\n- two\n  1. inner"),
        Block("code", "  x = 1\n  y = 2"),
        Block("text", "loose text"),
    ]


def test_the_header_of_an_article_belongs_to_its_text() -> None:
    content = "<article><header><h1>Title</h1></header>text</article>"
    assert html(content) == [heading(1, "Title"), Block("text", "text")]


def test_a_page_without_a_heading_has_the_title_of_its_head() -> None:
    assert html_format.read("<title>年假\n制度</title><p>text".encode()).title == "年假制度"


@pytest.mark.parametrize(
    "hidden",
    [
        "<script>secret()</script>",
        "<style>.secret {}</style>",
        "<span hidden>secret</span>",
        '<div style="color: red; Display : none">secret<p>secret</p></div>',
        '<span style="visibility:hidden">secret</span>',
        "<template><p>secret</p></template>",
        "<noscript>secret</noscript>",
        "<!-- secret -->",
    ],
)
@pytest.mark.parametrize("around", ["<h2>{}shown</h2>", "<p>{}shown</p>", "<table><tr><td>{}shown</td></tr></table>"])
def test_what_no_reader_sees_is_not_in_the_text(hidden: str, around: str) -> None:
    assert [block.text for block in html(around.format(hidden))] == ["shown"]


@pytest.mark.parametrize(
    "navigation",
    [
        '<div role="navigation"><h3>Contents</h3><a href=/>index</a></div>',
        '<form role="search"><label>Find</label></form>',
        '<div class="footer" role="contentinfo">Made by a tool.</div>',
        '<div class="navheader"><table><tr><th>Prev</th><th>Next</th></tr><tr><td>1</td><td>2</td></tr></table></div>',
        '<div class="toc"><p>Table of Contents</p><dl><dt>1. Scope</dt></dl></div>',
        '<div class="list-of-tables"><dl><dt>1.1. Keys</dt></dl></div>',
    ],
)
def test_navigation_that_says_so_is_not_in_the_text(navigation: str) -> None:
    assert html(f"{navigation}<h2>Scope</h2><p>text{navigation}") == [heading(2, "Scope"), Block("text", "text")]


def test_a_heading_is_without_the_link_to_itself() -> None:
    assert html('<h2>Scope<a class="headerlink" href="#scope">¶</a></h2>') == [heading(2, "Scope")]


def test_a_page_that_is_a_banner_as_a_whole_is_read() -> None:
    assert html('<body role="banner" class="toc">text</body>') == [Block("text", "text")]


def test_an_html_table_repeats_what_spans_several_cells() -> None:
    content = """<table><caption>Leave</caption><thead><tr><th rowspan=2>Name<th colspan=2>Days</tr>
      <tr><th>2024<th>2025</tr></thead><tr><td>Ann<td>20<td>a|b</tr></table>"""
    assert html(content) == [
        Block("text", "Leave"),
        Block("table", "| Name | Days | Days |\n| --- | --- | --- |\n| Name | 2024 | 2025 |\n| Ann | 20 | a\\|b |"),
    ]


def test_a_table_that_only_serves_layout_is_read_as_text() -> None:
    content = "<table><tr><td><h2>Left</h2>text</td><td><p>right</p></td></tr><tr><td>below</td></tr></table>"
    assert html(content) == [heading(2, "Left"), Block("text", "text"), Block("text", "right"), Block("text", "below")]


def test_html_is_read_in_the_encoding_that_it_declares() -> None:
    page = '<meta charset="gb2312"><p>员工手册</p>'.encode("gb18030")
    assert html_format.read(page).blocks == (Block("text", "员工手册"),)


def test_html_that_declares_the_wrong_encoding_is_read_all_the_same() -> None:
    page = '<meta charset="ascii"><p>员工请假须提前三天提出申请。</p>'.encode()
    assert html_format.read(page).blocks == (Block("text", "员工请假须提前三天提出申请。"),)


def test_xhtml_with_an_xml_declaration_is_html() -> None:
    assert html("<?xml version='1.0' encoding='utf-8'?><html><body><p>text</p></body></html>") == [
        Block("text", "text")
    ]


def test_deep_nesting_is_no_problem() -> None:
    assert html("<div>" * 20_000 + "deep") == [Block("text", "deep")]


@given(st.text(st.sampled_from("<>/ab \"'=#-*|`[]()!\n\t&;年。0"), max_size=200))
def test_no_markup_breaks_the_parsers(content: str) -> None:
    for parsed in (markdown(content), html(content), plain(content)):
        assert all(block.text.strip() for block in parsed)
