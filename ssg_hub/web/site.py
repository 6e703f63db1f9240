"""Writing the site: the page's files, the networks, the runtime, and what the page must know about the model.

Numbers and colours that Python and the page share are written into `model.json` from here, so that there is one place
for each; what the page computes with them is compared with Python by `tests/test_web.py`.
"""

import hashlib
import html
import json
import shutil
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CheckpointError, ImageError
from ..images.formats import entries_of
from ..images.levels import LUMA
from ..images.resampling import COLOR_RADIUS, COLOR_SIGMA
from ..networks.exporting import export_onnx
from ..storage import as_path
from ..upscaling import layers, tiling
from ..upscaling.engines.base import CELL, SMALLEST_SEEN
from ..upscaling.options import Options
from ..upscaling.pipeline import MARGIN
from ..upscaling.setup import HONESTY
from ..upscaling.soft_masks import UNCERTAIN, UNCERTAIN_COLOR
from . import runtime
from .weights import Packed, check_packed, pack

if TYPE_CHECKING:
    from ..model import SSGModel

STATIC = Path(__file__).parent / "static"
TILE = 192  # LR pixels a side: some seconds of WebAssembly, and little memory
MOST_PIXELS = 16_000_000  # of a picture: its result has 256 megapixels, about what a browser's memory holds
SIZES = ((64, 96), (101, 67))  # (h, w) at which the packed networks are compared
LISTED = "self.SITE = "  # how `files.js` begins
BOUND = {"generator": 4e-3, "guide": 2e-2}  # one grey level; and of the guide's logits
# Content Security Policy of the page and, by the service worker, of its workers, which do not inherit the page's:
# the page's own files, and no connection to anywhere else.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' blob: data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'"
)
CARD = """---
title: {quoted}
emoji: 🔭
colorFrom: green
colorTo: blue
sdk: static
app_file: index.html
pinned: false
license: {license}
short_description: Upscale photographs in the browser, privately
custom_headers:
  cross-origin-embedder-policy: require-corp
  cross-origin-opener-policy: same-origin
  cross-origin-resource-policy: cross-origin
---

# {title}

A static site, written by `ssg export --web`: it upscales photographs {scale} times in the visitor's browser. No picture
leaves the visitor's machine. {honesty}

{note}
"""


@dataclass(frozen=True)
class Site:
    """What was written.

    Attributes:
        folder: it.
        files: name → bytes.
        difference: of each network in half precision, relative to its largest value.
    """

    folder: Path
    files: dict[str, int]
    difference: dict[str, float]

    @property
    def loaded(self) -> int:
        """Bytes that a visitor without WebGPU loads."""
        return sum(size for name, size in self.files.items() if Path(name).name not in (*runtime.WEBGPU, "README.md"))


def export_site(
    model: "SSGModel", folder: str | Path, archive: Path | None = None, title: str = "ssg-hub", overwrite: bool = False
) -> Site:
    """Write a complete static site that runs the model in the browser.

    Args:
        model: an SSGModel.
        folder: a new or an empty one.
        archive: see `runtime.place_runtime`.
        title: of the page.
        overwrite: replace a site that is there, once the new one is complete; files that are not the site's stay.

    Raises:
        ConfigError: a missing package, or the runtime is not available.
        ImageError: the folder holds something, or cannot be written.
        CheckpointError: a network that cannot be exported faithfully.
    """
    folder = as_path(folder)
    _check_folder(folder, overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder if folder.exists() else folder.parent  # the same disk
        with tempfile.TemporaryDirectory(prefix=".ssg-web-", dir=beside) as place:
            draft = Path(place) / "site"
            shutil.copytree(STATIC, draft)
            (draft / "runtime").mkdir()
            runtime.place_runtime(draft / "runtime", archive)
            (draft / "runtime" / "LICENSE.txt").write_bytes((draft / "runtime-license.txt").read_bytes())
            (draft / "runtime-license.txt").unlink()
            networks, difference = _write_networks(model, draft, Path(place))
            write_page(model, networks, draft, title)
            (draft / "README.md").write_text(_card(model, title), encoding="utf-8")
            _list_files(draft)
            files = {path.relative_to(draft).as_posix(): path.stat().st_size for path in _files(draft)}
            _replace_site(folder, draft, files)
    except OSError as error:
        raise ImageError(f"{folder} cannot be written: {error.strerror or error}. Choose another place.") from error
    return Site(folder, files, difference)


def write_page(model: "SSGModel", networks: dict, folder: Path, title: str) -> None:
    """Make the page of STATIC, which `folder` is a copy of, that of this model."""
    (folder / "model.json").write_text(json.dumps(describe(model, networks, title)), encoding="utf-8")
    page = (folder / "index.html").read_text(encoding="utf-8")
    for name, value in {"scale": str(model.scale), "policy": POLICY, "title": html.escape(title)}.items():
        page = page.replace(f"{{{{ {name} }}}}", value)
    (folder / "index.html").write_text(page, encoding="utf-8")
    path = folder / "site.webmanifest"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({"name": title, "short_name": title, **manifest}), encoding="utf-8")


def describe(model: "SSGModel", networks: dict, title: str = "ssg-hub") -> dict:
    """What the page must know: the contents of `model.json`."""
    guide = model.guide
    return {
        "title": title,
        "scale": model.scale,
        "context": tiling.context_of(model.generator),
        "tile": TILE,
        "tiling": {"align": tiling.ALIGN, "overlap": tiling.OVERLAP},
        "margin": MARGIN,
        "color_fix": {"sigma": COLOR_SIGMA, "radius": COLOR_RADIUS} if Options.color_fix else None,
        "cell": CELL,
        "smallest_seen": SMALLEST_SEEN,
        "most_pixels": MOST_PIXELS,
        "luma": list(LUMA),
        "labels": [] if guide is None else list(guide.labels),
        "palette": [] if guide is None else [list(color) for color in guide.palette],
        "uncertain": UNCERTAIN,
        "uncertain_color": list(UNCERTAIN_COLOR),
        "uncertain_below": Options.uncertain_below,
        "views": {
            "hatch": list(layers.HATCH),
            "hatch_period": layers.HATCH_PERIOD,
            "mask_side": layers.MASK_SIDE,
            "heat": layers.HEAT.tolist(),
        },
        "calibration": None if model.calibration is None else model.calibration.to_config(),
        "denoise": model.denoise_default if model.grain_generator is not None else None,
        "networks": networks,
        "honesty": HONESTY,
    }


def _write_networks(model: "SSGModel", draft: Path, scratch: Path) -> tuple[dict, dict[str, float]]:
    """Write graphs and weights into the site; returns their names for the page, and the measured differences."""
    clean, difference = _packed(model, scratch, "generator")
    networks = {"generator": {"graph": _write(draft, "generator.onnx", clean.graph)}}
    networks["generator"]["clean"] = _write(draft, "generator.clean.f16", clean.halves())
    differences = {"generator": difference}
    if model.grain_generator is not None:
        grain, _ = _packed(model, scratch, "generator", denoise=0)
        if grain.graph != clean.graph:
            raise CheckpointError(
                "the model's two sets of weights give different graphs (in one of them some tensors are equal, as in "
                "an untrained network). Train it first, or remove the second set."
            )
        networks["generator"]["grain"] = _write(draft, "generator.grain.f16", grain.halves())
    if model.guide is not None:
        guide, differences["guide"] = _packed(model, scratch, "guide")
        networks["guide"] = {"graph": _write(draft, "guide.onnx", guide.graph)}
        networks["guide"]["weights"] = _write(draft, "guide.f16", guide.halves())
    return networks, differences


def _packed(model: "SSGModel", scratch: Path, part: str, denoise: float = 1) -> tuple[Packed, float]:
    path = scratch / f"{part}.onnx"
    export_onnx(model, path, part, denoise=denoise, overwrite=True)
    packed = pack(path)
    return packed, check_packed(packed, path, SIZES, BOUND[part])


def _write(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return name


def _replace_site(folder: Path, draft: Path, files: Collection[str]) -> None:
    """Move the draft's files into `folder`; of an earlier site, what the new one does not have is removed."""
    earlier = _listed(folder)
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).replace(folder / name)
    for path in _files(folder):
        if path.relative_to(folder).as_posix() in earlier.difference(files):
            path.unlink()


def _list_files(folder: Path) -> None:
    """`files.js`: what the service worker keeps, so that the site works without a network; it changes with any file."""
    files = [path for path in _files(folder) if path.name not in ("README.md", "sw.js")]
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    names = [path.relative_to(folder).as_posix() for path in files]
    runtimes = {"wasm": [f"runtime/{n}" for n in runtime.WASM], "webgpu": [f"runtime/{n}" for n in runtime.WEBGPU]}
    page = [name for name in names if name.endswith((".html", ".js", ".css", ".json", ".svg", ".webmanifest"))]
    own = [name for name in names if name not in page and not name.startswith("runtime/")]
    listed = {
        "version": digest.hexdigest()[:16],
        "policy": POLICY,
        "page": ["./", *page],
        "model": own,
        "runtime": runtimes,
    }
    (folder / "files.js").write_text(f"{LISTED}{json.dumps(listed)};\n", encoding="utf-8")


def _listed(folder: Path) -> set[str]:
    """The files that an earlier export listed in `files.js`; empty where there is no such list."""
    try:
        listed = json.loads((folder / "files.js").read_text(encoding="utf-8").removeprefix(LISTED).rstrip(";\n"))
        return {*listed["page"], *listed["model"], *listed["runtime"]["wasm"], *listed["runtime"]["webgpu"]}
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _check_folder(folder: Path, overwrite: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise ImageError(f"{folder} is a file. Give a folder for the site.")
    if not entries_of(folder):
        return
    if not (folder / "model.json").is_file() or not (folder / "files.js").is_file():
        raise ImageError(f"{folder} holds something that is no site, and is kept. Give a new folder.")
    if not overwrite:
        raise ImageError(f"{folder} holds a site, and is kept. Choose another name, or allow overwriting.")


def _card(model: "SSGModel", title: str) -> str:
    facts = dict(model.config.trained_on or {})
    note = facts.get("license_note") or "The weights carry the terms of the data they were trained on."
    quoted = json.dumps(title, ensure_ascii=False)  # as YAML takes any text
    return CARD.format(
        title=title,
        quoted=quoted,
        license=model.config.license or "other",
        scale=model.scale,
        honesty=HONESTY,
        note=note,
    )
