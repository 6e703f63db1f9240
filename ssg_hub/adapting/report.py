"""`report.html`: the user's pictures before and after, the camera, the scores as a plot; one file, without scripts."""

import base64
import html
import io
from collections.abc import Mapping
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..degradation.bank import DegradationBank
from ..degradation.contact_sheet import draw_contact_sheet
from ..images.levels import to_8_bit
from ..networks.registry import Generator
from .exam import FIGURES, MARGIN, tell_refusal
from .materials import PHOTOGRAPHS, read_pieces
from .strength import Candidate, choose
from .words import tell_camera

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h1, h2 { line-height: 1.2 } img { width: 100%; display: block } figure { margin: 0 }
.row { display: grid; grid-template-columns: repeat(3, 1fr); gap: .5rem; margin-bottom: 1rem }
figcaption, .faint { color: #666; font-size: .85rem } table { border-collapse: collapse }
td, th { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #ddd }
td:first-child, th:first-child { text-align: left }
.verdict { padding: .75rem 1rem; background: #f0f4f0; border-left: 4px solid #3a7 }
.not { border-color: #b63; background: #f8f2ee }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } .verdict { background: #202820 }
.not { background: #2a221c } td, th { border-color: #444 } }
"""
GOOD, BAD = "#3a9a6a", "#c0603a"
BAR_HEIGHT, LABEL_WIDTH, HALF = 26, 300, 220  # pixels of the plot


def write_report(
    path: Path,
    title: str,
    verdict: str,
    notes: list[str],
    bank: DegradationBank,
    start: Generator,
    before: Mapping[str, float],
    tried: list[Candidate],
    shown: Path,
) -> None:
    """Write the report.

    Args:
        path: of the file.
        verdict: what was decided, in a sentence.
        notes: further sentences.
        bank: of the camera.
        start, before: the generator to start with, and its figures.
        tried: the weights that were scored; the best of them are shown.
        shown: folder with pieces of the user's pictures.
    """
    best = choose(tried)
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="verdict{"" if best.better else " not"}">{_text(verdict)}</p>',
        *(f"<p>{_text(note)}</p>" for note in notes),
        "<h2>What was learnt of the camera</h2>",
        f"<p>{_text(' '.join(tell_camera(bank)))}</p>",
        _figure(
            draw_contact_sheet(bank, hr=PHOTOGRAPHS), "Kernels, noise, the camera's pictures, and ones made like them."
        ),
        "<h2>Scores on pictures that were held back</h2>",
        f"<p>The sum of the points decides; a gain of {MARGIN:g} is needed. Lower figures are better.</p>",
        _plot(best.points),
        _table(before, best),
        "<h2>How far to go</h2>",
        "<p>Weights on the way from the model to start with (0 %) to the trained one (100 %), and their points. "
        f"The figures above and the pictures below are of those at {best.share:.0%}.</p>",
        _ways(tried),
        "<h2>Your pictures, before and after</h2>",
        '<p class="faint">Pieces from the middle. Left the picture itself, enlarged; then the model to start with; '
        "right the adapted one. An upscaled picture is an estimate, not evidence.</p>",
        *(_row(lr, (start, best.generator)) for lr in read_pieces(shown)),
    ]
    page = f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{_text(title)}</title><style>{STYLE}</style>'
    path.write_text(page + "\n".join(parts) + "</html>\n", encoding="utf-8", errors="backslashreplace")


@torch.inference_mode()
def _row(lr: Tensor, generators: tuple[Generator, Generator]) -> str:
    device, scale = next(generators[0].parameters()).device, generators[0].scale
    size = (scale * lr.shape[3], scale * lr.shape[2])
    images = [_to_image(lr).resize(size, Image.Resampling.BICUBIC), *(_to_image(g(lr.to(device))) for g in generators)]
    titles = ("your picture", "before", "after")
    return f'<div class="row">{"".join(_figure(image, name) for image, name in zip(images, titles, strict=True))}</div>'


def _to_image(batch: Tensor) -> Image.Image:
    return Image.fromarray(to_8_bit(batch[0].float().permute(1, 2, 0).cpu().numpy()))


def _figure(image: Image.Image, caption: str) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    alt = html.escape(caption, quote=True)
    picture = f'<img alt="{alt}" src="data:image/webp;base64,{data}">'
    return f"<figure>{picture}<figcaption>{_text(caption)}</figcaption></figure>"


def _plot(points: Mapping[str, float]) -> str:
    """Bars of the points, to the right where a figure has become better."""
    bars = {**{FIGURES[name].title: value for name, value in points.items()}, "sum": sum(points.values())}
    unit = HALF / max(1e-6, *(abs(value) for value in bars.values()))
    middle, lines = LABEL_WIDTH + HALF + 50, []
    for index, (title, value) in enumerate(bars.items()):
        top, length = index * BAR_HEIGHT + 4, abs(value) * unit
        left = middle if value >= 0 else middle - length
        place = f'x="{middle + length + 6:.0f}"' if value >= 0 else f'x="{middle - length - 6:.0f}" text-anchor="end"'
        lines += [
            f'<text x="0" y="{top + 14}">{_text(title)}</text>',
            f'<rect x="{left:.1f}" y="{top}" width="{length:.1f}" height="18" fill="{GOOD if value >= 0 else BAD}"/>',
            f'<text {place} y="{top + 14}">{value:+.1f}</text>',
        ]
    width, height = middle + HALF + 60, len(bars) * BAR_HEIGHT + 8
    style = 'role="img" aria-label="points by figure" font-size="13" fill="currentColor"'
    return f'<svg viewBox="0 0 {width} {height}" {style}>{"".join(lines)}</svg>'


def _table(before: Mapping[str, float], best: Candidate) -> str:
    rows = ["<tr><th></th><th>before</th><th>after</th><th>points</th></tr>"]
    for name, value in best.points.items():
        decimals = FIGURES[name].decimals
        cells = [f"{figures[name]:.{decimals}f}" for figures in (before, best.figures)] + [f"{value:+.1f}"]
        rows.append(f"<tr><td>{_text(FIGURES[name].title)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>")
    rows.append(f"<tr><td>sum</td><td></td><td></td><td>{best.total:+.1f}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _ways(tried: list[Candidate]) -> str:
    """A row for each of the weights that were scored, and why those that were refused were."""
    rows = ["<tr><th>of the way</th><th>points</th><th></th></tr>"]
    for one in tried:
        said = "" if one.better else tell_refusal(one.points)
        rows.append(f"<tr><td>{one.share:.0%}</td><td>{one.total:+.1f}</td><td>{_text(said)}</td></tr>")
    return f"<table>{''.join(rows)}</table>"


def _text(words: str) -> str:
    return html.escape(words, quote=False)
