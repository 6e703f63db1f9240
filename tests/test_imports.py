"""The architecture, as far as imports show it: a part of the package knows those before it in a list, and no other."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "ssg_hub"
PARTS = (
    *("errors", "devices", "storage", "processes", "images", "networks", "data", "degradation", "upscaling", "video"),
    *("evaluation", "quantization", "upscaler", "saved_model", "model", "plain_model", "loading", "mapping"),
    *("training", "adapting", "web", "demo", "commands", "cli", "__main__"),
)


def test_each_part_imports_only_from_those_before_it():
    upwards = []
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).with_suffix("").parts
        if place == ("__init__",):  # the names that users import
            continue
        known = PARTS[: PARTS.index(place[0]) + 1]
        for node in run_nodes(ast.parse(path.read_text(encoding="utf-8"))):
            upwards += [f"{'/'.join(place)} imports {part}" for part in imported(node, place) if part not in known]
    assert not upwards


def run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All of a module but what only type checkers read."""
    yield tree
    for child in ast.iter_child_nodes(tree):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield from run_nodes(child)


def imported(node: ast.AST, place: tuple[str, ...]) -> list[str]:
    """The parts of the package that a statement of the module at `place` imports."""
    if not isinstance(node, ast.ImportFrom) or not node.level:
        return []
    above = place[: len(place) - node.level]
    names = [node.module] if node.module else [alias.name for alias in node.names]
    parts = [(*above, *name.split("."))[0] for name in names]
    return [part for part in parts if part != "__version__"]
