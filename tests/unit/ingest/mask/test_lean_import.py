from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from ingest.mask.lean_import import without


def test_a_package_is_absent_inside_and_there_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with without("colorsys"), pytest.raises(ModuleNotFoundError, match="colorsys"):
        __import__("colorsys")
    assert __import__("colorsys")


def test_other_threads_import_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    imported: list[object] = []
    with without("colorsys"):
        thread = threading.Thread(target=lambda: imported.append(__import__("colorsys")))
        thread.start()
        thread.join()
    assert imported


def test_masking_loads_no_deep_learning_library() -> None:
    code = (
        "import sys; from ingest.mask.masker import Masker; from ingest.settings import MaskSettings;"
        "Masker(MaskSettings(default='mask'), '').mask_text('x');"
        "print(sorted({'torch', 'transformers'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
