from __future__ import annotations

import os
from pathlib import Path

import pytest

from ingest.settings import SourceSettings
from ingest.sources.base import Discovery, Skipped
from ingest.sources.discover import discover as discover_with
from serve_app.core.errors import SetupError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """docs/ with a.md, hr/leave.DOCX and hr/old/合同.pdf, and things that are no documents."""
    for name in (
        "a.md",
        "hr/leave.DOCX",
        "hr/old/合同.pdf",
        "hr/photo.png",
        ".hidden.md",
        ".git/b.md",
        "hr/~$leave.docx",
    ):
        path = tmp_path / "docs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path / "docs"


def discover(sources: list[str], allowed_roots: tuple[str, ...] = ()) -> Discovery:
    return discover_with(sources, SourceSettings(allowed_roots=allowed_roots))


def names(*sources: str | Path) -> list[str]:
    return [file.source_file for file in discover([str(source) for source in sources]).files]


def test_a_folder_gives_the_documents_below_it_in_order(folder: Path) -> None:
    assert names(folder) == ["a.md", "hr/leave.DOCX", "hr/old/合同.pdf"]


def test_a_file_knows_its_absolute_path_its_format_and_its_size(folder: Path) -> None:
    file = discover([str(folder)]).files[1]
    assert (file.path, file.format, file.size) == (str(folder.resolve() / "hr" / "leave.DOCX"), "docx", 5)


def test_hidden_files_folders_and_office_locks_are_not_even_mentioned(folder: Path) -> None:
    assert discover([str(folder)]).skipped == (Skipped("hr/photo.png", "not a document format"),)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.txt", "txt"),
        ("a.markdown", "md"),
        ("a.htm", "html"),
        ("a.HTML", "html"),
        ("a.pdf", "pdf"),
        ("a.xlsx", "xlsx"),
        ("a.pptx", "pptx"),
        ("a.csv", "csv"),
        ("a.tsv", "tsv"),
        ("a.eml", "eml"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.parquet", "parquet"),
        ("a.doc", "doc"),
        ("a.xls", "xls"),
        ("a.ppt", "ppt"),
        ("a.rtf", "rtf"),
    ],
)
def test_the_extension_tells_the_format(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).touch()
    assert discover([str(tmp_path / name)]).files[0].format == expected


def test_a_file_goes_by_its_own_name(folder: Path) -> None:
    assert names(folder / "hr" / "old" / "合同.pdf") == ["合同.pdf"]


def test_a_file_of_an_unknown_kind_is_named_as_skipped(folder: Path) -> None:
    found = discover([str(folder / "hr" / "photo.png")])
    assert (found.files, found.skipped) == ((), (Skipped("photo.png", "not a document format"),))


def test_a_glob_gives_files_named_from_its_first_plain_folder(folder: Path) -> None:
    assert names(folder / "**" / "*.pdf") == ["hr/old/合同.pdf"]
    assert names(folder / "h*" / "*") == ["hr/leave.DOCX"]


def test_a_relative_glob_works_from_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert names("*.md") == ["a.md"]


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path: Path) -> None:
    (tmp_path / "report[1].md").touch()
    assert names(tmp_path / "report[1].md") == ["report[1].md"]


def test_a_file_reached_twice_is_found_once_under_its_longest_name(folder: Path) -> None:
    assert names(folder / "hr" / "leave.DOCX", folder, folder / "hr") == ["a.md", "hr/leave.DOCX", "hr/old/合同.pdf"]


def test_the_order_of_the_sources_does_not_matter(folder: Path) -> None:
    sources = [str(folder), str(folder / "hr" / "leave.DOCX")]
    assert discover(sources) == discover(sources[::-1])


def test_two_files_with_one_name_are_refused_because_a_report_could_not_tell_them_apart(folder: Path) -> None:
    (folder / "hr" / "a.md").touch()
    with pytest.raises(SetupError, match=r"would both be called 'a\.md'; give the folder"):
        names(folder / "a.md", folder / "hr")


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="nowhere' does not exist"):
        names(tmp_path / "nowhere")


def test_a_glob_that_matches_nothing_is_named(folder: Path) -> None:
    with pytest.raises(SetupError, match=r"\*\.xlsx' matches no file"):
        names(folder / "*.xlsx")


def test_a_link_out_of_the_folder_is_skipped(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.md").touch()
    (folder / "link.md").symlink_to(tmp_path / "secret.md")
    (folder / "all").symlink_to(tmp_path)
    found = discover([str(folder)])
    assert [file.source_file for file in found.files] == ["a.md", "hr/leave.DOCX", "hr/old/合同.pdf"]
    link = "a link that leads out of the folder"
    assert found.skipped == (
        Skipped("all", link),
        Skipped("hr/photo.png", "not a document format"),
        Skipped("link.md", link),
    )


def test_a_glob_does_not_follow_links_out_of_its_folder_either(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "secret.md").touch()
    (folder / "all").symlink_to(tmp_path / "other")
    assert names(folder / "**" / "*.md") == ["a.md"]


def test_a_link_inside_the_folder_gives_its_target_once_under_the_target_s_name(folder: Path) -> None:
    (folder / "hr" / "old" / "same.md").symlink_to(folder / "a.md")
    assert names(folder) == ["a.md", "hr/leave.DOCX", "hr/old/合同.pdf"]


def test_a_mounted_config_map_is_read_though_its_files_are_links_to_a_hidden_folder(tmp_path: Path) -> None:
    (tmp_path / "..2025").mkdir()
    (tmp_path / "..2025" / "faq.md").touch()
    (tmp_path / "..data").symlink_to("..2025")
    (tmp_path / "faq.md").symlink_to("..data/faq.md")
    assert names(tmp_path) == ["faq.md"]


def test_a_loop_of_links_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "one.md").symlink_to("two.md")
    (tmp_path / "two.md").symlink_to("one.md")
    assert discover([str(tmp_path)]).skipped == (
        Skipped("one.md", "not a file that can be reached"),
        Skipped("two.md", "not a file that can be reached"),
    )


def test_a_source_that_is_itself_a_link_is_followed(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(folder)
    assert names(tmp_path / "current") == ["a.md", "hr/leave.DOCX", "hr/old/合同.pdf"]


def test_a_pipe_does_not_hang_the_run(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    assert discover([str(tmp_path)]).skipped == (Skipped("pipe.txt", "not a file that can be reached"),)


def test_a_folder_that_cannot_be_listed_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Passing over it in silence would look as if its documents had been deleted."""

    def refuse(path: object) -> object:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SetupError, match="cannot be read"):
        names(tmp_path)


def test_no_source_gives_nothing() -> None:
    assert discover([]).files == ()


def test_a_file_has_one_identity_whichever_way_it_is_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(folder)
    ways = [folder / "hr" / "old", folder, tmp_path / "current" / "hr" / "old" / "合同.pdf"]
    sources = {discover([str(way)]).files[-1].source for way in ways}
    assert sources == {(folder.resolve() / "hr" / "old" / "合同.pdf").as_uri()}


def test_two_files_that_are_called_alike_have_two_identities(tmp_path: Path) -> None:
    for name in ("hr", "it"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "README.md").touch()
    hr, it = (discover([str(tmp_path / name)]).files[0] for name in ("hr", "it"))
    assert hr.source_file == it.source_file
    assert hr.source != it.source


def test_a_name_that_is_not_utf8_is_skipped_and_spelled_out(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.txt")).touch()
    found = discover([str(tmp_path)])
    assert (found.files, found.skipped) == ((), (Skipped("caf\\udce9.txt", "its path is not UTF-8; rename it"),))


def test_a_file_says_when_it_was_changed_and_through_which_source_it_was_found(folder: Path) -> None:
    file = discover([str(folder)]).files[0]
    assert file.modified == str((folder / "a.md").stat().st_mtime_ns)
    assert file.root == f"{folder.as_uri()}/"


def test_a_folder_covers_what_lies_in_it_and_nothing_beside_it(folder: Path) -> None:
    found = discover([str(folder / "hr")])
    assert found.covers((folder / "hr" / "gone.md").as_uri())
    assert not found.covers((folder / "hr-old" / "gone.md").as_uri())


def test_a_glob_or_a_file_covers_no_file_that_it_did_not_find(folder: Path) -> None:
    found = discover([str(folder / "*.md"), str(folder / "hr" / "leave.DOCX")])
    assert not found.covers((folder / "gone.md").as_uri())
    assert found.covers((folder / "hr" / "leave.DOCX").as_uri())
    assert not found.covers((folder / "hr" / "leave.DOCX.md").as_uri())


def test_a_file_url_is_a_path(folder: Path) -> None:
    assert names((folder / "hr" / "old" / "合同.pdf").as_uri()) == ["合同.pdf"]


def test_a_sidecar_goes_with_its_document_and_is_none_itself(folder: Path) -> None:
    sidecar = folder / "a.md.meta.yaml"
    sidecar.touch()
    found = discover([str(folder)])
    assert [file.sidecar for file in found.files] == [str(sidecar), None, None]
    assert found.skipped == (Skipped("hr/photo.png", "not a document format"),)


def test_of_two_sidecars_one_is_read_and_the_other_named(folder: Path) -> None:
    (folder / "a.md.meta.yaml").touch()
    (folder / "a.md.meta.json").touch()
    found = discover([str(folder)])
    assert str(found.files[0].sidecar).endswith("a.md.meta.yaml")
    assert Skipped("a.md.meta.json", "a.md.meta.yaml is read instead") in found.skipped


def test_a_sidecar_without_its_document_is_named(folder: Path) -> None:
    (folder / "gone.md.meta.json").touch()
    assert Skipped("gone.md.meta.json", "a sidecar without its document") in discover([str(folder)]).skipped


def test_a_sidecar_that_is_a_link_out_of_the_folder_is_not_read(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").touch()
    (folder / "a.md.meta.yaml").symlink_to(tmp_path / "secret.yaml")
    found = discover([str(folder)])
    assert found.files[0].sidecar is None
    assert Skipped("a.md.meta.yaml", "a link that leads out of the folder") in found.skipped


def test_sources_inside_the_allowed_roots_are_found(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "current").symlink_to(folder)
    assert len(discover([str(folder)], (str(tmp_path / "current"),)).files) == 3


@pytest.mark.parametrize("source", ["", "docs", "docs/hr-old/x.md", "docs/hr/../a.md", "docs/*.md", "link"])
def test_sources_outside_the_allowed_roots_are_refused(folder: Path, tmp_path: Path, source: str) -> None:
    (folder / "hr-old").mkdir()
    (folder / "hr-old" / "x.md").touch()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(SetupError, match="outside the allowed roots"):
        discover([str(tmp_path / source)], (str(folder / "hr"), "https://example.com"))


def test_a_path_that_may_not_be_looked_at_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(SetupError, match="cannot be read \\(Permission denied\\)"):
        names(tmp_path)


def test_an_unknown_kind_of_url_is_refused() -> None:
    with pytest.raises(SetupError, match="ftp:// are not known"):
        names("ftp://example.com/a.md")
