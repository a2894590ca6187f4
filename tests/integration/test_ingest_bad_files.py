"""Every kind of file that cannot be read, in one folder with good ones: each gets its reason, no other is lost."""

from __future__ import annotations

import json
import random
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import docx
import pytest
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.lib.utils import ImageReader
from reportlab.pdfgen.canvas import Canvas

from ingest.ledger.ledger import open_ledger
from ingest.ledger.place import ledger_uri
from ingest.sinks.registry import open_sink
from tests.canary import files_with, ledger_files, ray_logs
from tests.clusters import RunningCluster, embedctl

MARKER = "xylocarp-7f3a-quaternion"  # in every file that has room for it
SECRET_IN_SCRIPT = "only the script says so"  # no password
MAX_FILE_MIB = 2
CONFIG = f"ingest: {{parse: {{max_file_mib: {MAX_FILE_MIB}}}}}\n"
RANDOM = random.Random(4)  # noqa: S311  # repeatable


def pdf(*, encrypt: StandardEncryption | None = None, draw: Callable[[Canvas], None] | None = None) -> bytes:
    stream = BytesIO()
    canvas = Canvas(stream, encrypt=encrypt)
    (draw or (lambda page: page.drawString(72, 700, f"Drawn text {MARKER}.")))(canvas)
    canvas.save()
    return stream.getvalue()


def png() -> bytes:
    """One grey pixel."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0\x80")),
        (b"IEND", b""),
    )
    packed = [
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def picture_only(page: Canvas) -> None:
    page.drawImage(ImageReader(BytesIO(png())), 72, 72, 400, 600)


def archive(parts: dict[str, bytes]) -> bytes:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in parts.items():
            file.writestr(name, content)
    return stream.getvalue()


def bomb() -> bytes:
    return archive({"[Content_Types].xml": b"<Types/>", "word/document.xml": b" " * (64 << 20)})


def larger_than_allowed() -> bytes:
    """A text that is right in everything but its bytes; a table with too many cells is tested with the parser alone."""
    return f"A line that says {MARKER}.\n".encode() * (MAX_FILE_MIB << 15)


def word(text: str) -> bytes:
    stream = BytesIO()
    document = docx.Document()
    document.add_paragraph(text)
    document.save(stream)
    return stream.getvalue()


BAD: dict[str, tuple[str, bytes]] = {  # name → reason, content
    "cut_off.pdf": ("corrupt", pdf()[:300] + MARKER.encode()),
    "no_archive.docx": ("corrupt", b"PK\x03\x04" + MARKER.encode() * 9),
    "locked.pdf": ("encrypted", pdf(encrypt=StandardEncryption("secret"))),
    "zero.md": ("empty", b""),
    "blank.txt": ("empty", b" \n\t\n" * 50),
    "large.txt": ("too_large", larger_than_allowed()),
    "picture.pdf": ("wrong_format", png()),
    "noise.txt": ("wrong_format", RANDOM.randbytes(20_000) + MARKER.encode()),
    "bomb.docx": ("zip_bomb", bomb()),
    "scan.pdf": ("needs_ocr", pdf(draw=picture_only)),
    "old.doc": ("old_format", b"{\\rtf1 " + MARKER.encode() + b"}"),
    "front.md": ("bad_metadata", f"---\nowner: [{MARKER}\n---\n\nText.\n".encode()),
}
CHINESE = "第五条 乙方应当在三十日内交付全部货物，逾期按合同总价的百分之一支付违约金。" * 5
GOOD: dict[str, tuple[str, bytes]] = {  # name → what must be found of it, content
    "plain.md": (MARKER, f"# Plain\n\nA passage that says {MARKER} and more.\n".encode()),
    "legacy.txt": ("三十日内交付", CHINESE.encode("gb18030")),
    "renamed.txt": ("a Word file by another name", word("This is a Word file by another name.")),
    "scripts.html": (
        "What the reader sees",
        f"<html><body><script>'{SECRET_IN_SCRIPT}'</script><p>What the reader sees.</p></body></html>".encode(),
    ),
}


@dataclass(frozen=True, slots=True)
class Place:
    cluster: RunningCluster
    folder: Path
    sink: str
    config: Path

    def ingest(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self._run("ingest", str(self.folder), *more)

    def retry(self, *more: str) -> subprocess.CompletedProcess[str]:
        return self._run("dlq", "retry", *more)

    def tell(self, *command: str) -> str:
        told = embedctl(*command, "--sink", self.sink, "--config", str(self.config))
        assert told.returncode == 0, told.stderr
        return told.stdout

    def dead(self) -> set[str]:
        """Names of the files that have a letter."""
        with open_ledger(ledger_uri("", self.sink), create=False) as ledger:
            return {letter.source_file for letter in ledger.letters("documents")}

    def texts(self) -> dict[str, str]:
        """Of every stored file, all of its chunks."""
        found: dict[str, str] = {}
        with open_sink(self.sink) as (store, _):
            for chunk in store.scan("documents", with_vectors=False):
                name = Path(chunk.source).name
                found[name] = f"{found.get(name, '')} {chunk.text}"
        return found

    def _run(self, *command: str) -> subprocess.CompletedProcess[str]:
        way = ("--model", self.cluster.model, "--address", self.cluster.address)
        return embedctl(*command, "--sink", self.sink, "--config", str(self.config), *way)


@pytest.fixture(scope="module")
def place(cluster: RunningCluster, tmp_path_factory: pytest.TempPathFactory) -> Place:
    here = tmp_path_factory.mktemp("bad")
    folder = here / "documents"
    folder.mkdir()
    for name, (_, content) in (BAD | GOOD).items():
        (folder / name).write_bytes(content)
    (folder / "outside.md").symlink_to("/etc/passwd")
    (here / "cluster.yaml").write_text(CONFIG, encoding="utf-8")
    return Place(cluster, folder, f"milvus-lite:{here / 'milvus'}", here / "cluster.yaml")


@pytest.fixture(scope="module")
def first(place: Place) -> subprocess.CompletedProcess[str]:
    return place.ingest()


@pytest.fixture(scope="module")
def letters(place: Place, first: subprocess.CompletedProcess[str]) -> dict[str, dict[str, object]]:
    assert first.returncode == 3, first.stdout + first.stderr
    told = map(json.loads, place.tell("dlq", "list", "--json").splitlines())
    return {letter["source_file"]: letter for letter in told}


@pytest.fixture(scope="module")
def texts(place: Place, first: subprocess.CompletedProcess[str]) -> dict[str, str]:
    assert first.returncode == 3, first.stdout + first.stderr
    return place.texts()


@pytest.mark.parametrize(("name", "reason"), [(name, reason) for name, (reason, _) in BAD.items()])
def test_a_file_that_cannot_be_read_is_left_out_with_its_reason(
    letters: dict[str, dict[str, object]], first: subprocess.CompletedProcess[str], name: str, reason: str
) -> None:
    assert letters[name]["reason"] == reason
    assert letters[name]["message"]
    assert any(name in line and reason in line for line in first.stdout.splitlines())


@pytest.mark.parametrize(("name", "said"), [(name, said) for name, (said, _) in GOOD.items()])
def test_the_other_files_of_the_folder_are_stored_whole(texts: dict[str, str], name: str, said: str) -> None:
    assert said in texts[name]


def test_nothing_but_the_good_files_is_stored_or_reported(
    letters: dict[str, dict[str, object]], texts: dict[str, str], first: subprocess.CompletedProcess[str]
) -> None:
    assert set(letters) == set(BAD)
    assert set(texts) == set(GOOD)
    assert SECRET_IN_SCRIPT not in "".join(texts.values())
    assert "a link that leads out of the folder" in first.stdout


@pytest.mark.usefixtures("first")
def test_collections_are_listed_and_one_that_is_searched_is_not_dropped(place: Place) -> None:
    listed = place.tell("collections", "list")
    name = next(word for word in listed.split() if word.startswith("documents__"))

    refused = embedctl("collections", "drop", name, "--yes", "--sink", place.sink)

    assert "live" in listed
    assert refused.returncode == 1
    assert "--live" in refused.stderr
    assert embedctl("collections", "list", "--nonsense").returncode == 2


def test_a_file_that_was_mended_is_taken_in_by_a_retry_and_the_others_keep_their_letters(
    place: Place, letters: dict[str, dict[str, object]], texts: dict[str, str]
) -> None:
    (place.folder / "cut_off.pdf").write_bytes(pdf())
    (place.folder / "no_archive.docx").write_bytes(word("Mended by its author."))

    done = place.retry("--reason", "corrupt")

    assert done.returncode == 0, done.stdout + done.stderr
    assert place.dead() == set(letters) - {"cut_off.pdf", "no_archive.docx"}
    now = place.texts()
    assert set(now) == {*texts, "cut_off.pdf", "no_archive.docx"}
    assert MARKER in now["cut_off.pdf"]
    assert {name: now[name] for name in texts} == texts


@pytest.mark.usefixtures("first")
def test_what_is_cleared_is_forgotten_and_an_unknown_name_is_refused(place: Place) -> None:
    cleared = place.tell("dlq", "clear", "scan.pdf", "--collection", "documents")
    again = embedctl("dlq", "clear", "scan.pdf", "--collection", "documents", "--sink", place.sink)

    assert "Cleared 1 dead letters" in cleared
    assert "scan.pdf" not in place.dead()
    assert again.returncode == 1
    assert "scan.pdf" in again.stderr


def test_no_text_of_a_document_is_in_any_message_log_or_ledger(
    place: Place, letters: dict[str, dict[str, object]], first: subprocess.CompletedProcess[str]
) -> None:
    with open_ledger(ledger_uri("", place.sink), create=False) as ledger:
        assert ledger.runs("documents")  # it is this ledger that was written

    assert MARKER not in first.stdout + first.stderr + json.dumps(letters)
    written = [ray_logs(place.cluster), place.cluster.log, *ledger_files(place.sink)]
    assert all(path.exists() for path in written)
    assert files_with(MARKER, written) == []
