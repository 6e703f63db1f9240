"""The results of a picture: the files to download, and what the viewer is told about them."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from ..errors import SSGError
from ..images.picture import Picture
from ..upscaling.layers import drift_layer, mask_layer, readings_layer
from ..upscaling.result import UpscaleResult
from .archive import FILES, archive_url
from .gradio_fixes import CACHE_ROUTE
from .line import Ticket
from .refusals import Refused, sentence_for
from .request import VIEW_PIXELS, Request, check_size
from .settings import Settings
from .texts import duration, listed, sentences, text
from .translations import class_name, note
from .views import for_browser, shrink

READ, WRITING = 0.05, 0.95  # shares of a run that are done when its picture is read, and upscaled
TRUSTED = 0.1  # the risk for which the page says how much of a picture is trusted
MOSTLY = 0.3  # uncertain share from which on the page says what the guide knows
NAMED = 12  # classes that such a sentence lists
SUFFIXES = {"png": ".png", "jpeg": ".jpg", "webp": ".webp", "avif": ".avif", "tiff": ".tif"}


@dataclass(frozen=True)
class Files:
    """Where one result lies: picture, mask, drift and report in one folder."""

    picture: Path
    mask: Path | None
    notes: list[str]  # on what the picture's format could not hold


def write_files(result: UpscaleResult, name: str, folder: Path, request: Request) -> Files:
    """Write the files that a visitor may download into `folder`/FILES.

    Args:
        result: of `upscale`.
        name: of the picture that came in.
        folder: of this result alone.
        request: its format and quality.
    """
    files = folder / FILES
    files.mkdir()
    stem = f"{safe_stem(name)}_x{result.report['outscale']:g}"
    picture = files / f"{stem}{SUFFIXES[request.format]}"
    lossless = request.format in ("png", "tiff")
    notes = result.save(picture, quality=None if lossless else round(request.quality))
    mask = None
    if result.mask is not None:
        mask = files / f"{stem}_mask.png"
        result.mask.save(mask)
        result.drift.save(files / f"{stem}_drift.png", compress_level=1)
    report = {**result.report, "notes": [*result.report["notes"], *notes]}
    (files / f"{stem}_report.json").write_text(json.dumps(report, indent=2, ensure_ascii=False), encoding="utf-8")
    return Files(picture, mask, notes)


def make_item(
    name: str,
    picture: Picture,
    result: UpscaleResult,
    files: Files,
    others: dict[str, Image.Image],
    classes: list[str],
    lang: str,
) -> dict:
    """What the viewer shows of a result; its views are written beside the files.

    Args:
        name: of the file that came in.
        picture: it.
        result: what the main model made of it.
        files: where that lies.
        others: what further models made of it, by what the page calls them.
        classes: all that the guide knows.
        lang: of the visitor.
    """
    folder, size = files.picture.parents[1], result.content.size
    enlarged = for_browser(picture.to_image()).resize(size, Image.Resampling.BICUBIC)
    pictures = [(text("bicubic", lang), _view(enlarged, folder / "before.png"))]
    shown = files.picture  # a browser shows the very file that is delivered, unless it is too large for it
    if size[0] * size[1] > VIEW_PIXELS or files.picture.suffix == ".tif":
        shown = _view(result.image, folder / "after.png")
    pictures.append((text("after", lang), shown))
    for number, (other, image) in enumerate(others.items()):
        pictures.append((other, _view(image, folder / f"{number}.png")))
    downloads = [("get_picture", files.picture)] + ([("get_mask", files.mask)] if files.mask else [])
    item = {
        "name": name,
        "state": "done",
        "note": "",
        "input": picture.size,
        "width": size[0],
        "height": size[1],
        "pictures": [{"title": title, "url": file_url(path)} for title, path in pictures],
        "facts": facts(result.report, lang),
        "notes": [note(each, lang) for each in (*result.report["notes"], *files.notes)],
        "downloads": [
            *({"key": key, "url": file_url(path), "name": path.name} for key, path in downloads),
            {"key": "get_zip", "url": archive_url([folder.name]), "name": f"{files.picture.stem}.zip"},
        ],
    }
    if result.mask is None:
        return item
    mask_layer(result.mask, result.report["uncertain_id"]).save(folder / "mask.png")
    drift_layer(result.drift).save(folder / "drift.png")
    readings_layer(result).save(folder / "readings.png")
    layers = {name: file_url(folder / f"{name}.png") for name in ("mask", "drift", "readings")}
    return item | layers | what_is_in_it(result, classes, lang)


def what_is_in_it(result: UpscaleResult, classes: list[str], lang: str) -> dict:
    """The part of an item that is about what the guide reads in a result; `classes` are all that it knows."""
    uncertain = result.report["uncertain_id"]
    legend = [
        {
            "name": text("uncertain", lang) if label["id"] == uncertain else class_name(label["name"], lang),
            "color": "#{:02x}{:02x}{:02x}".format(*label["color"]),
            "share": _percent(label["share"]),
            "uncertain": label["id"] == uncertain,
        }
        for label in sorted(result.labels, key=lambda label: -label["share"])
    ]
    unsure = sum(label["share"] for label in result.labels if label["id"] == uncertain)
    names = [class_name(name, lang) for name in classes]
    known = _first_of(names, lang)
    return {
        "legend": legend,
        "classes": names,
        "hatched": text("hatched", lang, below=_percent(result.report["uncertain_below"])) if unsure else "",
        "unsure": text("mostly_uncertain", lang, share=_percent(unsure), classes=known) if unsure >= MOSTLY else "",
        "chance": what_may_be_invented(result, lang),
    }


def what_may_be_invented(result: UpscaleResult, lang: str) -> str:
    """What the map of a calibrated model says, with the share of the picture that is trusted; "" for plain drift."""
    if result.calibration is None:
        return ""
    sentence = text("chance_explained", lang)
    if TRUSTED not in result.calibration.thresholds:
        return sentence
    share = _percent(result.trust(TRUSTED).mean())
    return sentences((sentence, text("trusted", lang, share=share, risk=_percent(TRUSTED))), lang)


def waiting_item(name: str, state: str, note: str = "", size: tuple[int, int] | None = None, view: Path | None = None):
    """What the viewer shows of a picture without a result: its preview, if there is one, and a sentence."""
    width, height = size or (0, 0)
    pictures = [{"title": "", "url": file_url(view)}] if view else []
    item = {"name": name, "state": state, "note": note, "width": width, "height": height, "pictures": pictures}
    return item | {"input": size}


def estimate(
    items: list[dict], model: str, outscale: float, predict: Callable, settings: Settings, lang: str
) -> tuple[str, bool]:
    """One line on what to expect: sizes and time, or why it would be refused; and whether any picture can be done.

    Args:
        items: of the viewer.
        model: the name of the one that is chosen.
        outscale: how many times larger.
        predict: takes size and outscale; returns what a picture becomes.
        settings: the limits.
        lang: of the visitor.
    """
    seconds, parts, refused = [], [], []
    for item in items:
        try:
            if item["input"] is None:
                refused.append(item["note"])
                continue
            width, height = item["input"]
            check_size(width, height, outscale, settings, model)
            expected = predict((width, height), outscale)
        except (Refused, SSGError) as error:
            refused.append(sentence_for(error, None, lang))
            continue
        parts = [text("forecast", lang, w=width, h=height, ow=expected.width, oh=expected.height)]
        seconds.append(expected.seconds)
    if len(items) == 1 and refused:
        return f"⚠️ {refused[0]}", False
    if len(items) > 1:
        parts = [text("forecast_many", lang, n=len(items))]
    if seconds and None not in seconds:
        parts.append(text("about", lang, seconds=duration(sum(seconds), lang)))
    if refused:
        parts.append("⚠️ " + text("forecast_refused", lang, n=len(refused)))
    return " · ".join(parts), bool(seconds)


def progress_of(ticket: Ticket, lang: str, index: int, count: int) -> tuple[float | None, str]:
    """How far a run is: the share that is done (None while it waits), and in words.

    Args:
        ticket: of the picture that is worked at.
        lang: of the visitor.
        index, count: which of the visitor's pictures that is.
    """
    now = ticket.progress
    words = [text("which", lang, n=index + 1, of=count)] if count > 1 else []
    if ticket.before or now.stage == "waiting":
        return (index / count if index else None), " · ".join([*words, waiting(ticket, lang)])
    if now.stage == "upscaling" and now.tiles > 1:
        words.append(text("upscaling_tile", lang, done=min(now.tiles_done + 1, now.tiles), total=now.tiles))
    else:
        words.append(text(now.stage, lang))
    if now.stage == "upscaling" and now.seconds_left is not None and now.seconds_left >= 1:
        words.append(text("left_over", lang, seconds=duration(round(now.seconds_left), lang)))
    share = WRITING if now.stage == "writing" else READ + (WRITING - READ) * now.fraction
    return (index + share) / count, " · ".join(words)


def waiting(ticket: Ticket, lang: str) -> str:
    """Why a ticket waits: others are before it, or the networks are not ready yet."""
    if not ticket.before:
        return text("preparing", lang)
    return text("waiting_next", lang) if ticket.before == 1 else text("waiting", lang, n=ticket.before)


def facts(report: dict, lang: str) -> str:
    """One line on how the picture was made."""
    return text(
        "facts",
        lang,
        iw=report["input"]["width"],
        ih=report["input"]["height"],
        w=report["output"]["width"],
        h=report["output"]["height"],
        device=device_name(report["device"]),
    )


def device_name(name: str) -> str:
    """The common name of a device."""
    return "CPU" if name == "cpu" else f"GPU ({name})"


def file_url(path: Path) -> str:
    """The address of a file in the cache, relative to the page."""
    return CACHE_ROUTE.lstrip("/") + quote(str(path))


def _view(image: Image.Image, path: Path) -> Path:
    """Write a picture as a lossless PNG of 8 bits for the browser."""
    view = shrink(for_browser(image), VIEW_PIXELS)
    view.save(path, compress_level=1, icc_profile=image.info.get("icc_profile"))
    return path


def _first_of(names: list[str], lang: str) -> str:
    """The names as a sentence holds them, the first of many."""
    if len(names) <= NAMED:
        return listed(names, lang)
    return text("and_more", lang, names=listed(names[:NAMED], lang), n=len(names) - NAMED)


def _percent(share: float) -> str:
    return f"{share:.0%}" if share >= 0.01 else "< 1%"


def safe_stem(name: str) -> str:
    """A file's name without its ending, as it may stand in a result's name."""
    return re.sub(r"[^\w. -]", "_", Path(name).stem)[:80] or "picture"
