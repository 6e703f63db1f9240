"""What was asked of the embedded checkpoint beside Real-ESRGAN x4plus, and whether the last candidate meets it."""

from collections.abc import Iterator

from benchmarks.document import markdown_table
from benchmarks.results.measuring import YARDSTICK, Measurements
from benchmarks.results.tables import worse_than_bicubic

LPIPS_RATIO = {"noisy": 0.92, "phone": 0.95}
PSNR_GAIN, MIOU_RATIO, TIME_RATIO = 0.8, 1.08, 1 / 10
GUIDE_MIOU = {"HR": 0.65, "phone": 0.50}
LEVELS = 2
CLEAN = "kodak-bicubic"
Line = tuple[str, str, bool]  # what was asked, what was measured, whether that meets it


def tell_aims(found: Measurements) -> str:
    if YARDSTICK not in found.peers:
        return f"Without {YARDSTICK} there is nothing to compare with."
    name = list(found.models)[-1]
    lines = [*camvid_aims(found, name), *kodak_aims(found, name), *other_aims(found, name)]
    rows = [[f"asked of {name}", "measured", "met"]]
    rows += [[asked, measured, "yes" if met else "**no**"] for asked, measured, met in lines]
    return markdown_table(rows)


def camvid_aims(found: Measurements, name: str) -> Iterator[Line]:
    for pictures in found.camvid_sets():
        scores = found.score(pictures).scores
        own, other, limit = scores[name], scores[YARDSTICK], LPIPS_RATIO[pictures.lr.name]
        ratio = own["lpips"] / other["lpips"]
        yield f"{pictures.title}: LPIPS at most {limit} of {YARDSTICK}'s", f"{ratio:.3f}", ratio <= limit
        gain = own["psnr_y"] - other["psnr_y"]
        yield f"{pictures.title}: PSNR-Y at least {PSNR_GAIN} dB above", f"{gain:+.2f}", gain >= PSNR_GAIN
        ratio = own["miou"] / other["miou"]
        yield f"{pictures.title}: mIoU at least {MIOU_RATIO} of {YARDSTICK}'s", f"{ratio:.3f}", ratio >= MIOU_RATIO


def kodak_aims(found: Measurements, name: str) -> Iterator[Line]:
    for pictures in found.kodak_sets():
        evaluation = found.score(pictures)
        own, other, zero = (evaluation.scores[row] for row in (name, YARDSTICK, "bicubic"))
        if pictures.name == CLEAN:
            worse = len(worse_than_bicubic(evaluation, name))
            yield f"{pictures.title}: no picture's LPIPS above bicubic's", f"{worse} are", worse == 0
            drift = own["color_drift"] - zero["color_drift"]
            yield f"{pictures.title}: colour ΔE at most bicubic's", f"{drift:+.2f}", drift <= 0
        else:
            for metric in ("lpips", "dists"):
                ratio = own[metric] / other[metric]
                yield f"{pictures.title}: {metric.upper()} at most {YARDSTICK}'s", f"{ratio:.3f} of it", ratio <= 1


def other_aims(found: Measurements, name: str) -> Iterator[Line]:
    color, worst = max(found.deviations()[name].items(), key=lambda pair: pair[1])
    yield f"flat colours within {LEVELS} levels", f"{worst} ({color})", worst <= LEVELS
    seconds = found.seconds()
    ratio = seconds[name] / seconds[YARDSTICK]
    yield f"generator's time at most a tenth of {YARDSTICK}'s", f"1/{1 / ratio:.1f}", ratio <= TIME_RATIO
    for what, miou in found.guide_miou().get(name, {}).items():
        if what in GUIDE_MIOU:
            place = "HR" if what == "HR" else f"its SR of {what}"
            yield f"guide: mIoU at least {GUIDE_MIOU[what]:.2f} on {place}", f"{miou:.3f}", miou >= GUIDE_MIOU[what]
