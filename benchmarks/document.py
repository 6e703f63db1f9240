"""Write into the documents: figures, a section for each benchmark that a rerun replaces, and pictures."""

import os
import platform
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results.md"
DEGRADATION = ROOT / "docs" / "degradation.md"


def write_section(name: str, text: str, path: Path = RESULTS) -> None:
    """Replace the section between `<!-- name -->` and `<!-- /name -->`, or append it; the rest stays as it is."""
    section = f"<!-- {name} -->\n{text.strip()}\n<!-- /{name} -->"
    content = path.read_text(encoding="utf-8") if path.exists() else "# Results\n"
    around = _split_at(name, content, path)
    path.parent.mkdir(exist_ok=True)
    path.write_text(section.join(around) if around else f"{content.rstrip()}\n\n{section}\n", encoding="utf-8")


def _split_at(name: str, content: str, path: Path) -> tuple[str, str] | None:
    """What stands before and after a section with its markers; None if it is not there."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if found and not closed:
        raise SystemExit(f"{path} has {begin} but no {end}. Mend it by hand.")
    return (before, after) if found else None


def markdown_table(rows: list[list[str]]) -> str:
    """A table from its heading row and its rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture for a document, as WebP."""
    picture.save(path, quality=92, method=6)


def describe_machine() -> str:
    """CPU model, cores, and the versions that a figure may depend on."""
    import torch

    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, torch {torch.__version__}"
