"""The benchmarks' way of writing into a document: sections come, are replaced, and leave the rest alone."""

import importlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.document import ROOT, markdown_table, write_section


def test_sections_are_replaced_in_place(tmp_path):
    path = tmp_path / "docs" / "results.md"
    write_section("one", "first figures", path)
    write_section("two", "other figures", path)
    path.write_text(path.read_text() + "\nwritten by hand\n")
    before = path.read_text()
    write_section("one", "first figures", path)
    assert path.read_text() == before
    write_section("one", "second figures", path)
    assert path.read_text() == before.replace("first figures", "second figures")


def test_a_lost_marker_stops_the_writing(tmp_path):
    path = tmp_path / "results.md"
    path.write_text("<!-- one -->\nfigures and what follows them")
    with pytest.raises(SystemExit, match="no <!-- /one -->"):
        write_section("one", "new", path)
    assert path.read_text().endswith("what follows them")


def test_tables():
    assert markdown_table([["a", "b"], ["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |"


MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "benchmarks").rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)


@pytest.mark.parametrize("module", MODULES)
def test_benchmarks_are_found_as_the_documents_name_them(module):
    """`python -m benchmarks.NAME` works from a clone; only what somebody else makes may be missing."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        ours = {name.rpartition(".")[2] for name in MODULES} | {"ssg_hub", "benchmarks"}
        assert error.name.partition(".")[0] not in ours
        pytest.skip(str(error))
