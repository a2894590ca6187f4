"""A corpus that nobody here wrote: manuals from Debian packages, in English and Chinese, as HTML and PDF."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from serve_app.core.errors import SetupError

COMMAND_TIMEOUT_S = 120.0
UNPACK = "dpkg-deb"


@dataclass(frozen=True, slots=True)
class Manual:
    """What is taken of a package: the files that match `pattern`, into a folder named after the language or manual."""

    package: str
    pattern: str
    folder: str


# One form of each manual: a question about a heading has no single answer where a second file says the same.
MANUALS = (
    Manual("debian-reference-en", "usr/share/debian-reference/*.en.html", "en"),
    Manual("debian-reference-zh-cn", "usr/share/debian-reference/*.zh-cn.html", "zh-cn"),
    Manual("developers-reference", "usr/share/developers-reference/developers-reference.pdf", "developers"),
)


@dataclass(frozen=True, slots=True)
class Corpus:
    folder: Path
    versions: dict[str, str]  # of the packages

    @property
    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())


def fetch(cache: Path) -> Corpus:
    """The chosen files of all manuals; packages that are already in `cache` are not fetched again.

    Raises SetupError where there is no apt, or it cannot fetch.
    """
    folder = cache / "files"
    shutil.rmtree(folder, ignore_errors=True)
    versions = {}
    for manual in MANUALS:
        package = _package(cache, manual.package)
        _, versions[manual.package], _ = package.stem.split("_")
        take(manual, _unpacked(package, cache / "unpacked" / manual.package), folder / manual.folder)
    return Corpus(folder, versions)


def take(manual: Manual, unpacked: Path, folder: Path) -> None:
    """Copy what is chosen. Raises SetupError if the package no longer holds it."""
    found = sorted(unpacked.glob(manual.pattern))
    if not found:
        raise SetupError(f"The package {manual.package} has no {manual.pattern}: its layout has changed.")
    folder.mkdir(parents=True, exist_ok=True)
    for path in found:
        shutil.copyfile(path, folder / path.name)


def _package(cache: Path, name: str) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    if not list(cache.glob(f"{name}_*.deb")):
        _do(["apt-get", "download", name], cache, "Run `apt-get update` and try again.")
    return max(cache.glob(f"{name}_*.deb"), key=lambda path: path.stat().st_mtime)


def _unpacked(package: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _do([UNPACK, "-x", str(package.absolute()), str(folder.absolute())], package.parent)
    return folder


def _do(command: list[str], folder: Path, advice: str = "") -> None:
    program = shutil.which(command[0])
    if program is None:
        raise SetupError(
            f"There is no {command[0]} here, and the corpus is made of Debian packages: run this on Debian or Ubuntu, "
            "for example in the container image debian:12."
        )
    try:
        done = subprocess.run(
            [program, *command[1:]], cwd=folder, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise SetupError(f"`{' '.join(command)}` took more than {COMMAND_TIMEOUT_S:.0f} s; try again.") from error
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SetupError(f"`{' '.join(command)}` failed: {reason}. {advice}".rstrip())
