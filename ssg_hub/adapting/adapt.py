"""From one folder of a camera's pictures to a model for that camera: look, learn, train, compare, hand over."""

import logging
import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..data.tables import is_utf_8
from ..degradation.bank import DegradationBank
from ..degradation.learning.estimate import learn_from
from ..degradation.learning.pictures import read_pictures
from ..devices import training_device
from ..errors import ConfigError, ImageError, check_type
from ..loading import EMBEDDED, load_guide, load_model
from ..networks.guide import Guide
from ..networks.perceptual import find_vgg16
from ..networks.registry import Generator
from ..storage import check_place, expand_home, public_name
from ..storage.hub import check_id
from ..training.script import load_script
from .exam import FIGURES, Exam, find_measures, tell_refusal
from .inspection import look, too_few
from .materials import Materials, cut_own, cut_sharp, find_sharp
from .plan import Request, begin, list_found, read_plan, write_plan
from .recipe import GENERIC_SHARE, build_config, default_minutes, trainable_scale
from .report import write_report
from .strength import SHARES, Candidate, choose, try_strengths
from .together import Team
from .words import tell_camera

if TYPE_CHECKING:
    from ..model import SSGModel

LEAST_TRAINED = 0.5  # share of the minutes that training gets, however long the rest takes
Tell = Callable[[str], None]


@dataclass
class Adaptation:
    """What an adaptation came to.

    Attributes:
        folder: holds the model, the bank and report.html.
        better: whether the adapted model is handed over; if not, the folder holds the model that was started from.
        strength: share of the way from the start to what was trained that was best, 0 to 1; 0 is the start.
        points: the sum of the comparison for the best weights but the start's; `exam.MARGIN` is needed.
        before, after: figures of the start and of these, by the names of `exam.FIGURES`.
        notes: what was noticed about the pictures, or could not be measured.
        interrupted: whether it was ended by a signal; the same call goes on.
    """

    folder: Path
    better: bool
    strength: float
    points: float
    before: dict[str, float]
    after: dict[str, float]
    notes: list[str]
    interrupted: bool

    @property
    def model(self) -> "SSGModel":
        """The model in the folder, loaded."""
        return load_model(self.folder)


def adapt(
    pictures: str | Path,
    output: str | Path,
    *,
    model: str | Path = EMBEDDED,
    hr: str | Path | None = None,
    guide: str | Path | None = None,
    minutes: float | None = None,
    seed: int = 0,
    anyway: bool = False,
    perceptual_weights: str | Path | None = None,
    lpips: str | None = None,
    push_to_hub: str | None = None,
    tell: Tell = lambda line: None,
) -> Adaptation:
    """Adapt a model to a camera from its pictures alone: no sharp versions of them, no labels.

    The camera's blur, noise and compression are learnt from the pictures, sharp photographs are degraded like them, and
    the model is trained on both by the step of SSG-RWSR. The result is handed over only if it is better on pictures
    that were held back. The same call goes on where an earlier one was interrupted; with more minutes it trains
    further.

    Args:
        pictures: folder of pictures by one camera, as it made them; 8 at least, better 30 or more.
        output: folder for the model, the bank, report.html, and `work`, which holds what is needed to go on.
        model: what to start with; see `load_model`.
        hr: folder or Hub data set of sharp pictures of similar scenes; default: a few that the package has.
        guide: another guide than the model's; see `load_guide`.
        minutes: in all; default: `recipe.default_minutes`. Training gets half of them at least.
        seed: of everything random.
        anyway: go on although the pictures are few, mixed, sharp or enlarged.
        perceptual_weights: file of VGG16's weights; default: the Hub's.
        lpips: where AlexNet for LPIPS is, as for `find_distances`; without it DISTS speaks for both.
        push_to_hub: repository for the result, private if it is new; nothing is pushed that is not better.
        tell: is called with a line about each stage.

    Raises:
        ImageError: no picture can be used, or they are not fit to learn from; the message says why, with figures.
        ConfigError: an impossible value, or a folder that holds something else, or in which another process works.
        CheckpointError, HubError: as loading the networks.
    """
    named = {"-o": output, "--model": model, "--hr": hr, "--guide": guide, "--perceptual-weights": perceptual_weights}
    given = {option: place for option, place in named.items() if place is not None}
    for place in (pictures, *given.values()):
        check_place(place)
    for option, place in given.items():
        if not is_utf_8(place):
            raise ConfigError(
                f"the name after {option}, {place}, is not UTF-8, which a training cannot take. Give another name, or "
                "rename what is there."
            )
    minutes = default_minutes() if minutes is None else minutes
    check_type("minutes", minutes, Real, "a number")
    check_type("seed", seed, Integral, "a whole number")
    check_type("tell", tell, Callable, "a function")
    if not 0 < minutes < math.inf:
        raise ConfigError(f"minutes is {minutes}; it must be more than 0, and end some time.")
    if perceptual_weights is not None and not Path(perceptual_weights).is_file():
        raise ConfigError(f"no VGG16 weights at {perceptual_weights}. Correct --perceptual-weights, or leave it out.")
    if push_to_hub is not None:
        check_id(push_to_hub)
    team, folder, own = Team(), Path(expand_home(str(output))), expand_home(str(pictures))
    sharp, reader = (None if name is None else expand_home(str(name)) for name in (hr, guide))
    request = Request(own, list_found(Path(own)), str(model), sharp, reader, seed, anyway)
    tell = tell if team.leads else lambda line: None
    with team.alone_in(folder):
        plan = team.by_one(lambda: prepare(folder, request, perceptual_weights, lpips, tell))
        vgg = team.by_one(lambda: find_vgg16(perceptual_weights))
        interrupted = train(folder, request, plan, vgg, minutes, tell)
        found = team.by_one(lambda: conclude(folder, request, plan, vgg, lpips, push_to_hub, interrupted, tell))
    team.part()
    return found


def prepare(folder: Path, request: Request, weights: str | Path | None, lpips: str | None, tell: Tell) -> dict:
    """Look at the pictures, learn the bank, cut the pieces, and score the start; or find all this done before.

    VGG16, half a gigabyte where `weights` does not name it, is fetched only once the pictures were found fit.

    Returns:
        The plan: `notes`, `pictures`, the figures `before`, `seconds` that this took, and `scoring` of them.
    """
    if (plan := read_plan(folder, request)) is not None:
        tell(f"going on in {folder}")
        return plan
    began = time.monotonic()
    start, guide = _load_networks(request)
    scale = trainable_scale(start)
    pictures = read_pictures(request.pictures)
    notes = [f"left out: {count} {reason}" for reason, count in pictures.skipped.items()]
    _object([few] if (few := too_few(len(pictures.pixels))) else [], request, notes)
    if len(pictures.pixels) < 3:
        raise ImageError(
            f"{request.pictures} has {len(pictures.pixels)} usable pictures; 3 is the very least. Add some."
        )
    table = find_sharp(request.hr)
    tell(f"learning the camera from {len(pictures.pixels)} pictures")
    bank = learn_from(pictures, scale, seed=request.seed)
    _object(look(pictures, bank), request, notes)
    for line in tell_camera(bank):
        tell(line)
    measures = find_measures(find_vgg16(weights), lpips)
    work = begin(folder)
    materials = Materials(work)
    cut_own(materials, pictures.paths, request.seed)
    sharp = cut_sharp(materials, table, bank, request.seed)
    bank.save(folder)
    replace(bank, generic_share=GENERIC_SHARE).save(work / "bank")
    if "lpips" not in measures:
        notes.append("LPIPS was not measured: AlexNet was not found (see --lpips). DISTS speaks for both.")
    tell("scoring the model to start with")
    scoring = time.monotonic()
    before = Exam(materials, *_on_device(measures, guide)).sit(_ready(start))
    facts = {
        "notes": notes,
        "pictures": len(pictures.pixels),
        "sharp": sharp,
        "before": before,
        "seconds": time.monotonic() - began,
        "scoring": time.monotonic() - scoring,
    }
    return write_plan(folder, request, facts)


def train(folder: Path, request: Request, plan: dict, vgg: Path, minutes: float, tell: Tell) -> bool:
    """Run the training script's step until the minutes are over. Returns whether a signal ended it.

    Raises:
        SSGError: as a training raises it.
    """
    logging.getLogger("train").setLevel(logging.WARNING)
    taken = plan["seconds"] + len(SHARES) * plan["scoring"]  # what is before the training, and what comes after it
    left = max(LEAST_TRAINED * minutes, minutes - taken / 60)
    work, start = folder / "work", load_model(request.model)
    guide = request.guide or (request.model if start.guide is not None else None)
    resume = any((work / "training/checkpoints").glob("adversarial-*"))
    if not resume:
        shutil.rmtree(work / "training", ignore_errors=True)
    config = build_config(
        Materials(work), work / "bank", work / "training", start, request.model, guide, vgg, left, request.seed, resume
    )
    tell(f"training for {left:.1f} of {minutes:g} minutes")
    return load_script().train(config).interrupted


def conclude(
    folder: Path,
    request: Request,
    plan: dict,
    vgg: Path,
    lpips: str | None,
    push_to_hub: str | None,
    interrupted: bool,
    tell: Tell,
) -> Adaptation:
    """Score the result, decide, and write the model, the card and the report."""
    tell("scoring the adapted model, and what lies between it and the start")
    start, guide = _load_networks(request)
    adapted = load_model(folder / "work/training/model")
    materials, bank = Materials(folder / "work"), DegradationBank.load(folder)
    exam = Exam(materials, *_on_device(find_measures(vgg, lpips), guide))
    before = plan["before"]
    tried = try_strengths(exam, _ready(start), _ready(adapted), before)
    best = choose(tried)
    better = best.better
    verdict = _tell_verdict(best, interrupted)
    title = f"{folder.resolve().name}: a model for one camera"
    shown = materials.shown
    write_report(folder / "report.html", title, verdict, plan["notes"], bank, _ready(start), before, tried, shown)
    if better:
        adapted.generator = best.generator
        _describe(adapted, request, plan, bank, best)
    handed = adapted.cpu().half() if better else start.cpu()
    handed.save_pretrained(folder)
    if better and push_to_hub:
        handed.push_to_hub(push_to_hub, private=True)
        bank.push_to_hub(push_to_hub, private=True)
        tell(f"pushed {push_to_hub}")
    elif push_to_hub:
        tell("nothing was pushed")
    for line in [*plan["notes"], verdict]:
        tell(line)
    strength = best.share if better else 0.0
    return Adaptation(folder, better, strength, best.total, before, dict(best.figures), plan["notes"], interrupted)


def _object(objections: list[str], request: Request, notes: list[str]) -> None:
    """Stop for what speaks against the pictures, or note it where the user wants to go on."""
    if objections and not request.anyway:
        raise ImageError(f"{request.pictures}: {' Also, '.join(objections)} --anyway goes on all the same.")
    notes += objections


def _load_networks(request: Request) -> "tuple[SSGModel, Guide | None]":
    """The model to start with, and the guide."""
    start = load_model(request.model)
    return start, start.guide if request.guide is None else load_guide(request.guide)


def _ready(model: "SSGModel") -> Generator:
    return model.generator.to(training_device()).eval()


def _on_device(
    measures: dict[str, torch.nn.Module], guide: Guide | None
) -> tuple[dict[str, torch.nn.Module], Guide | None]:
    device = training_device()
    return {name: network.to(device) for name, network in measures.items()}, guide and guide.to(device).eval()


def _describe(model: "SSGModel", request: Request, plan: dict, bank: DegradationBank, best: Candidate) -> None:
    """What the card says of an adapted model."""
    sharp = "photographs of the package" if request.hr is None else "sharp pictures of the user's"
    earlier = model.config.trained_on.get("data") or "the data of the model it started from are not recorded"
    own = f"{plan['pictures']} of its pictures, without HR or labels"
    data = [earlier, f"adapted to one camera by {own}, and {plan['sharp']} {sharp}"]
    rows = {
        name: {FIGURES[key].title: value for key, value in figures.items()}
        for name, figures in (("before", plan["before"]), ("after", best.figures))
    }
    model.describe(
        data=data,
        metrics=rows,
        notes=tell_camera(bank),
        adapted_from=public_name(request.model),
        adapted_strength=best.share,
    )


def _tell_verdict(best: Candidate, interrupted: bool) -> str:
    gain = f"{best.total:+.2f} points on pictures that were held back"
    if best.better:
        verdict = f"Better: {gain}. The model that is handed over is {_tell_way(best.share)}."
    else:
        verdict = f"Not better: {gain}, {tell_refusal(best.points)}. The folder holds the model that was started from."
    return f"{verdict} It was interrupted: the same line goes on." if interrupted else verdict


def _tell_way(share: float) -> str:
    return "what was trained" if share == 1 else f"{share:.0%} of the way from the start to what was trained"
