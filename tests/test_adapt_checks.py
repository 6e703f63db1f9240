"""What `ssg adapt` sees in a folder before it trains, and what decides afterwards: known answers."""

import io
import signal
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from made_pictures import draw_scene, even_kernel, spoil
from PIL import Image, ImageFilter
from safetensors.torch import load_file

import ssg_hub
from ssg_hub.adapting import exam, inspection, report, words
from ssg_hub.adapting.adapt import _tell_verdict
from ssg_hub.adapting.materials import PHOTOGRAPHS, Materials, _keep_sharpest, cut_sharp, find_sharp, hold_back
from ssg_hub.adapting.plan import Request, begin, list_found, read_plan, write_plan
from ssg_hub.adapting.recipe import DISCRIMINATOR
from ssg_hub.adapting.strength import Candidate, choose, try_strengths
from ssg_hub.adapting.together import Team
from ssg_hub.cli import main
from ssg_hub.degradation.bank import DegradationBank
from ssg_hub.degradation.learning.estimate import learn_from
from ssg_hub.degradation.learning.pictures import read_pictures
from ssg_hub.degradation.noise import BINS, white_noise
from ssg_hub.errors import ConfigError
from ssg_hub.networks.discriminators import build_discriminator
from ssg_hub.processes.locking import alone_in


def draw_sharp(count: int, side: int) -> list[np.ndarray]:
    """Made-up scenes, drawn at three times the size and reduced, so that every edge is as sharp as it can be."""
    scenes = (draw_scene(number, (3 * side, 3 * side), 6)[0].permute(1, 2, 0).numpy() for number in range(count))
    images = (Image.fromarray((scene * 255).astype(np.uint8)) for scene in scenes)
    return [np.asarray(image.resize((side, side), Image.Resampling.LANCZOS)) for image in images]


def noisy(pixels: np.ndarray, seed: int) -> bytes:
    rng = np.random.default_rng(seed)
    return encode((pixels + rng.normal(0, 9, pixels.shape)).clip(0, 255).astype(np.uint8), "PNG")


def encode(pixels: np.ndarray, format: str, **options) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format, **options)
    return buffer.getvalue()


def enlarge(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize([2 * s for s in pixels.shape[1::-1]], Image.Resampling.BICUBIC))


KINDS = {
    "sharp": lambda pixels, seed: ("png", encode(pixels, "PNG")),
    "enlarged": lambda pixels, seed: ("png", encode(enlarge(pixels), "PNG")),
    "noisy": lambda pixels, seed: ("png", noisy(pixels, seed)),
    "compressed": lambda pixels, seed: ("jpg", encode(pixels, "JPEG", quality=50)),
}


@pytest.fixture(scope="module")
def sharp() -> list[np.ndarray]:
    return draw_sharp(12, 128)


def look_at(folder, sharp, *kinds: str) -> list[str]:
    """What is said of a folder with pictures of these kinds; the bank is stood in for by the JPEG tables."""
    for kind in kinds:
        for number, pixels in enumerate(sharp):
            ending, content = KINDS[kind](pixels, number)
            (folder / f"{kind}{number}.{ending}").write_bytes(content)
    pictures = read_pictures(folder)
    steps = torch.stack([tables.luma if tables else torch.zeros(8, 8) for tables in pictures.tables])
    return inspection.look(pictures, SimpleNamespace(luma_steps=steps))


@pytest.mark.parametrize("kind", ["noisy", "compressed"])
def test_nothing_speaks_against_one_camera(tmp_path, sharp, kind):
    assert look_at(tmp_path, sharp, kind) == []


@pytest.mark.parametrize(("kind", "words"), [("sharp", "sharp already"), ("enlarged", "enlarged already")])
def test_pictures_without_a_camera_to_learn_are_named(tmp_path, sharp, kind, words):
    (sentence,) = look_at(tmp_path, sharp, kind)
    assert words in sentence and " dB" in sentence


def test_two_cameras_are_counted(tmp_path, sharp):
    sentence = look_at(tmp_path, sharp, "noisy", "compressed")[0]
    assert sentence.startswith("the pictures are of 2 kinds: 12 such as") and "JPEG of about 50" in sentence


def test_kinds_are_found_where_there_are_any():
    rng = np.random.default_rng(0)

    def cloud(count: int, *centre: float) -> np.ndarray:
        return rng.normal(0, 0.5, (count, 5)) + np.array(centre)

    one = cloud(60, 0, 0, 0, 0, 0)
    two = np.concatenate([cloud(40, 0, 0, 0, 0, 0), cloud(20, 6, 0, 0, 0, 3)])
    three = np.concatenate([two, cloud(15, 0, -7, 0, 4, 0)])
    assert [len(kind) for kind in inspection.find_kinds(one)] == [60]
    assert [len(kind) for kind in inspection.find_kinds(two)] == [40, 20]
    assert [len(kind) for kind in inspection.find_kinds(three)] == [40, 20, 15]
    assert [len(kind) for kind in inspection.find_kinds(rng.uniform(0, 9, (60, 1)))] == [60]  # spread, not parted
    assert [len(kind) for kind in inspection.find_kinds(np.concatenate([one, cloud(2, 50, 0, 0, 0, 0)]))] == [62]
    assert [len(kind) for kind in inspection.find_kinds(np.repeat(one[:1], 9, 0))] == [9]


def test_too_few_pictures_are_refused_at_once(tmp_path, sharp, capsys):
    vgg = tmp_path / "vgg.safetensors"
    vgg.touch()  # not read before the pictures are looked at
    (tmp_path / "photos").mkdir()
    for number in range(3):
        (tmp_path / f"photos/{number}.png").write_bytes(noisy(sharp[number], number))
    words = ["adapt", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--perceptual-weights", str(vgg)]
    assert main(words) == 2
    printed = capsys.readouterr().err
    assert "3 pictures can be used; 8 are needed" in printed and "--anyway" in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["nowhere", "-o", "out"], "nowhere is not a folder"),
        (["photos", "-o", "out", "--minutes", "0"], "minutes is 0"),
        (["photos", "-o", "out", "--perceptual-weights", "none"], "no VGG16 weights at none"),
        (["photos", "-o", "full"], "full holds other files"),
        (["photos", "-o", "file"], "file is a file"),
        (["photos", "-o", "photos/adapted"], "photos/adapted is inside the folder of pictures, photos"),
        (["photos", "-o", "caf\udce9"], "the name after -o, caf\\udce9, is not UTF-8"),
        (["photos", "-o", "out", "--model", "caf\udce9"], "the name after --model, caf\\udce9, is not"),
    ],
)
def test_impossible_requests_are_refused(tmp_path, monkeypatch, capsys, options, words):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "full"):
        (tmp_path / folder).mkdir()
    for file in ("full/letter.txt", "file", "vgg"):
        (tmp_path / file).touch()
    given = [] if "--perceptual-weights" in options else ["--perceptual-weights", "vgg"]
    assert main(["adapt", *options, *given]) == 2
    assert words in capsys.readouterr().err


def test_a_report_takes_any_name_of_a_picture(tmp_path, monkeypatch):
    """Also one that is not UTF-8: the report comes last, after all the work."""
    for name in ("_figure", "_plot", "_table", "_ways", "draw_contact_sheet", "tell_camera"):
        monkeypatch.setattr(report, name, lambda *given, **options: "")
    monkeypatch.setattr(report, "read_pieces", lambda folder: [])
    monkeypatch.setattr(report, "choose", lambda tried: SimpleNamespace(better=True, share=1.0, points={}))
    path = tmp_path / "report.html"
    report.write_report(path, "camera", "Better.", ["15 such as caf\udce9.png"], None, None, {}, [], tmp_path)
    assert "<p>15 such as caf\\udce9.png</p>" in path.read_text(encoding="utf-8")


def test_two_adaptations_into_one_folder_are_kept_apart(tmp_path, capsys):
    (tmp_path / "photos").mkdir()
    with alone_in(tmp_path / "out"):
        assert main(["adapt", str(tmp_path / "photos"), "-o", str(tmp_path / "out")]) == 2
    assert "another process works in " in capsys.readouterr().err


def test_a_request_to_end_names_the_line_to_go_on_with(monkeypatch, capsys):
    monkeypatch.setattr("ssg_hub.adapting.adapt.adapt", lambda *names, **options: signal.raise_signal(signal.SIGTERM))
    assert main(["adapt", "photos", "-o", "my camera"]) == 130
    assert capsys.readouterr().err == "ssg adapt: interrupted; the same line goes on.\n"


@pytest.mark.parametrize(
    ("better", "words"),
    [
        (True, "use it: ssg upscale PICTURES -o RESULTS --model 'my camera'"),
        (False, "with more --minutes trains further"),
    ],
)
def test_the_last_line_says_what_to_do_next(monkeypatch, capsys, better, words):
    found = SimpleNamespace(folder=Path("my camera"), better=better, interrupted=False)
    monkeypatch.setattr("ssg_hub.adapting.adapt.adapt", lambda *names, **options: found)
    assert main(["adapt", "photos", "-o", "my camera"]) == (0 if better else 1)
    assert capsys.readouterr().err.splitlines()[-1].endswith(words)


def test_a_link_to_a_picture_that_is_gone_is_listed_until_it_is_there(tmp_path):
    (tmp_path / "a.png").write_bytes(b"12345")
    (tmp_path / "b.png").symlink_to(tmp_path / "elsewhere")
    assert list_found(tmp_path) == [["a.png", 5], ["b.png", None]]
    (tmp_path / "elsewhere").write_bytes(b"123")
    assert list_found(tmp_path) == [["a.png", 5], ["b.png", 3]]


def make_request(pictures: Path) -> Request:
    pictures.mkdir(parents=True, exist_ok=True)
    (pictures / "0.png").touch()
    return Request(str(pictures), list_found(pictures), "embedded", None, None, 0, False)


def test_what_is_not_installed_is_told_first(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pydantic", None)
    with pytest.raises(ConfigError, match=r"needs pydantic, which is not installed: pip install 'ssg-hub\[train\]'"):
        _ = ssg_hub.adapt
    assert main(["adapt", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "needs pydantic, which is not installed" in capsys.readouterr().err


def test_processes_that_do_not_know_of_each_other_are_refused(monkeypatch):
    """Each would adapt in the same folder."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("accelerate.PartialState", lambda cpu, timeout: SimpleNamespace(num_processes=1))
    with pytest.raises(ConfigError, match="2 processes were launched, but Accelerate sees 1"):
        Team()


def test_a_folder_that_no_adaptation_made_is_never_taken_for_its_work(tmp_path):
    request, folder = make_request(tmp_path / "photos"), tmp_path / "camera"
    for name in ("work/letter.txt", "work/target/0.png", "degradation.json"):
        path = tmp_path / name.replace("/", "_") / name
        path.parent.mkdir(parents=True)
        path.touch()
        with pytest.raises(ConfigError, match="holds other files"):
            read_plan(tmp_path / name.replace("/", "_"), request)
        assert path.is_file()
    (folder / "work").mkdir(parents=True)
    (folder / ".DS_Store").touch()  # the user has looked at it
    assert read_plan(folder, request) is None  # empty
    (begin(folder) / "target").mkdir()
    (folder / "degradation.json").touch()
    assert read_plan(folder, request) is None  # a preparation that was killed half-way
    assert not (begin(folder) / "target").exists()
    assert write_plan(folder, request, {"seconds": 1}) == read_plan(folder, request)


def test_a_place_may_be_written_in_any_way(tmp_path, monkeypatch):
    request = make_request(tmp_path / "photos")
    (tmp_path / "sharp").mkdir()
    (tmp_path / "nice").symlink_to(tmp_path / "sharp")
    (tmp_path / "large").mkdir()  # not what the name means, which is in the package
    monkeypatch.chdir(tmp_path)
    short = replace(request, pictures="photos", model="large", hr="nice", guide="nvidia/some-guide")
    begin(tmp_path / "camera")
    plan = write_plan(tmp_path / "camera", short, {})
    monkeypatch.chdir(tmp_path / "sharp")
    assert read_plan(tmp_path / "camera", replace(short, pictures="../photos/", hr=str(tmp_path / "sharp"))) == plan
    for other in ({"hr": "nice"}, {"model": str(tmp_path / "large")}, {"guide": None}):
        with pytest.raises(ConfigError, match=rf"another request \({next(iter(other))} differ"):
            read_plan(tmp_path / "camera", replace(short, **{"pictures": "../photos", "hr": "../nice", **other}))


def test_a_place_with_a_list_may_be_written_in_any_way(tmp_path, monkeypatch):
    request = make_request(tmp_path / "photos")
    (tmp_path / "sharp").mkdir()
    (tmp_path / "best.txt").touch()
    (tmp_path / "worst.txt").touch()
    monkeypatch.chdir(tmp_path)
    begin(tmp_path / "camera")
    plan = write_plan(tmp_path / "camera", replace(request, hr="sharp#best.txt"), {})
    monkeypatch.chdir(tmp_path / "sharp")
    full = f"{tmp_path}/sharp#{tmp_path}/best.txt"
    assert read_plan(tmp_path / "camera", replace(request, hr=full)) == plan
    for other in ("../sharp#../worst.txt", "../sharp"):
        with pytest.raises(ConfigError, match=r"another request \(hr differ"):
            read_plan(tmp_path / "camera", replace(request, hr=other))


def test_pictures_in_the_work_of_an_adaptation_are_not_deleted(tmp_path):
    begin(tmp_path)
    request = make_request(tmp_path / "work/photos")
    with pytest.raises(ConfigError, match="the pictures are in"):
        read_plan(tmp_path, request)


def test_a_tenth_is_held_back():
    assert len(hold_back(40)) == 4
    assert len(hold_back(8)) == 2 and len(hold_back(1000)) == 12
    assert all(0 <= index < count for count in (3, 8, 40, 300) for index in hold_back(count))


def test_points_add_up_to_a_verdict():
    before = {"lpips": 0.30, "dists": 0.20, "color": 2.0, "flat_noise": 3.0, "constants": 0.0}
    after = {"lpips": 0.27, "dists": 0.21, "color": 2.5, "flat_noise": 3.2, "constants": 0.0}
    points = exam.count_points(before, after)
    assert points == pytest.approx({"lpips": 3, "dists": -1, "color": -1, "flat_noise": -0.2, "constants": 0})
    assert not exam.is_better(points) and exam.is_better({**points, "constants": 0.5})


def test_a_near_miss_is_not_told_as_enough():
    verdict = _tell_verdict(Candidate(0.5, torch.nn.Identity(), {}, {"lpips": 0.97}), interrupted=False)
    assert verdict.startswith("Not better: +0.97 points on pictures that were held back, and 1 are needed.")


class Nearest(torch.nn.Module):
    """Enlarges without learning anything, adds `offset` levels, and blurs dark pictures, from 0 to 1."""

    scale = 4

    def __init__(self, offset: float = 0.0, blur: float = 0.0):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(offset / 255))
        self.blur = torch.nn.Parameter(torch.tensor(blur))

    def forward(self, lr):
        enlarged = lr.repeat_interleave(4, 2).repeat_interleave(4, 3)
        blur = self.blur * (lr.mean() < 0.3)
        return enlarged + blur * (torch.nn.functional.avg_pool2d(enlarged, 5, 1, 2) - enlarged) + self.offset


def test_a_comparison_finds_noise_colour_and_constants(tmp_path):
    materials, rng = Materials(tmp_path), np.random.default_rng(0)
    for folder, side in zip((*materials.pairs, materials.own), (16, 64, 16), strict=True):
        folder.mkdir(parents=True)
        gray = np.full((side, side, 3), 128.0)
        noise = rng.normal(0, 6, gray.shape[:2])[..., None] if side == 16 else 0  # LR is noisy, HR is not
        Image.fromarray((gray + noise).round().astype(np.uint8)).save(folder / "0.png")
    found = exam.Exam(materials, {}, None).sit(Nearest())
    assert found["flat_noise"] == pytest.approx(6, rel=0.35) and found["constants"] == 0
    assert set(found) == {"error", "color", "flat_noise", "softness", "constants"}
    moved = exam.Exam(materials, {}, None).sit(Nearest(9))
    assert moved["constants"] == pytest.approx(7) and moved["color"] > found["color"] + 2


@pytest.fixture
def textured(tmp_path) -> exam.Exam:
    """An exam on texture: a light pair, and one picture of the user's, which is dark."""
    materials, rng = Materials(tmp_path), np.random.default_rng(0)
    light, dark = (rng.integers(low, low + 90, (32, 32, 3)).astype(np.uint8) for low in (120, 20))
    fine = light.repeat(4, 0).repeat(4, 1)
    for folder, pixels in zip((*materials.pairs, materials.own), (light, fine, dark), strict=True):
        folder.mkdir(parents=True)
        Image.fromarray(pixels).save(folder / "0.png")
    return exam.Exam(materials, {}, None)


def test_what_softens_the_users_own_pictures_is_refused_whatever_the_pairs_say(textured):
    start, trained = Nearest(offset=60), Nearest(offset=0, blur=0.5)  # better colours, bought with the user's detail
    before, after = textured.sit(start), textured.sit(trained)
    points = exam.count_points(before, after)
    assert after["softness"] > before["softness"] + 3
    assert sum(points.values()) > exam.MARGIN and not exam.is_better(points)
    assert exam.find_excess(points) == "softness" and "softness of SR of your pictures" in exam.tell_refusal(points)
    assert exam.is_better({**points, "softness": 0.0})
    assert exam.count_points(after, before)["softness"] == 0  # more detail than before is no merit of itself


def test_the_best_weights_on_the_way_are_taken(textured):
    start = Nearest(offset=12)
    tried = try_strengths(textured, start, Nearest(offset=-12), textured.sit(start))
    best = choose(tried)
    assert [one.share for one in tried] == [0.25, 0.5, 0.75, 1] and best.share == 0.5 and best.better
    assert float(best.generator.offset) == pytest.approx(0) and best.total > tried[0].total > tried[3].total
    start = Nearest(offset=60)
    softened = try_strengths(textured, start, Nearest(offset=0, blur=0.5), textured.sit(start))
    assert [one.better for one in softened] == [True, True, False, False] and choose(softened).share == 0.5
    assert softened[-1].total > choose(softened).total
    harmed = try_strengths(textured, Nearest(), Nearest(offset=40), textured.sit(Nearest()))
    assert not choose(harmed).better


def test_of_sharp_pictures_what_is_in_focus_is_kept(tmp_path, sharp):
    for number, pixels in enumerate(sharp[:6]):
        soft = Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2))
        for name, image in (("a", Image.fromarray(pixels)), ("b", soft)):
            image.save(tmp_path / f"{number}{name}.png")
    _keep_sharpest(tmp_path, 4)
    kept = sorted(path.stem for path in tmp_path.iterdir())
    assert len(kept) == 4 and all(name.endswith("a") for name in kept)


def plain_bank() -> DegradationBank:
    """A little blur, and nothing else."""
    steps = torch.zeros(1, 8, 8)
    return DegradationBank(4, even_kernel(2, 4)[None], white_noise(0.0, 1, "none"), steps, steps)


def save_sharp(folder: Path, *sides: int | tuple[int, int]) -> Path:
    """A folder of plain pictures of these widths and heights."""
    folder.mkdir()
    for number, side in enumerate(sides):
        size = side if isinstance(side, tuple) else (side, side)
        Image.new("RGB", size, (number, 99, 0)).save(folder / f"{number:02d}.png")
    return folder


@pytest.mark.parametrize(
    ("sides", "usable"), [((300, 300), 2), ((300,) * 7 + (200,) * 9, 7), ((256,) * 7 + ((5000, 600),), 7), ((90,), 0)]
)
def test_too_few_sharp_pictures_are_counted_and_refused(tmp_path, sides, usable):
    with pytest.raises(ConfigError, match=f"{usable} of {len(sides)} sharp pictures can be used; 8 or more are needed"):
        find_sharp(save_sharp(tmp_path / "hr", *sides))


def test_sharp_pictures_for_the_comparison_are_among_those_that_can_be_used(tmp_path):
    """Of nine it was the fifth, whether it could be used or not."""
    hr = save_sharp(tmp_path / "hr", *[300] * 4, 200, *[300] * 4)
    (hr / "99.png").write_bytes(b"no picture")
    materials = Materials(tmp_path / "work")
    assert cut_sharp(materials, find_sharp(hr), plain_bank(), 0) == 8
    assert [len(list(folder.iterdir())) for folder in materials.pairs] == [1, 1]
    assert len(list(materials.source.iterdir())) == 4  # the sharper half of the seven others


def test_damage_that_no_header_shows_takes_no_place_in_the_comparison(tmp_path):
    hr = save_sharp(tmp_path / "hr", *[300] * 9)
    for name, keeps in (("04", 8), ("05", 7)):
        Image.effect_noise((300, 300), 80).save(hr / f"{name}.png")
        whole = (hr / f"{name}.png").read_bytes()
        (hr / f"{name}.png").write_bytes(whole[: len(whole) // 2])
        materials = Materials(tmp_path / name)
        if keeps == 8:
            assert cut_sharp(materials, find_sharp(hr), plain_bank(), 0) == 8 and list(materials.pairs[0].iterdir())
        else:
            with pytest.raises(ConfigError, match="2 of 9 sharp pictures are damaged; 8 or more are needed"):
                cut_sharp(materials, find_sharp(hr), plain_bank(), 0)


def test_a_camera_is_told_in_plain_words():
    steps = torch.ones(4, 8, 8)
    noise = white_noise(0.0, 4, "none")
    noise.levels = torch.linspace(2, 8, BINS).expand(4, 3, BINS) / 255
    kernels = even_kernel(4, 4).repeat(4, 1, 1)
    bank = DegradationBank(4, kernels, noise, steps, steps, report={"jpeg_quality": [61, 82]})
    blur, grain, jpeg = words.tell_camera(bank)
    assert blur == "It blurs by about 1.0 pixels of its pictures, alike in all directions."
    bank.report["video_found"] = 3
    assert "through MPEG video, about as coarse as JPEG of quality 61 to 82." in words.tell_camera(bank)[2]
    assert "rising with light" in grain and jpeg == "All of its pictures went through JPEG of quality 61 to 82."


def test_noise_is_never_taken_for_more_than_there_is(tmp_path):
    """A video codec leaves no fine detail in flat parts; dividing by it once gave noise of thousands of levels."""
    for number in range(8):
        pixels = spoil(draw_scene(number, (384, 288)), even_kernel(2, 2), 0)
        coarse = Image.fromarray(pixels).reduce(2).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR)
        Image.fromarray(np.asarray(coarse) // 2 * 2).save(tmp_path / f"{number}.png")
    bank = learn_from(read_pictures(tmp_path))
    assert bank.noise.levels.max() * 255 < 20


def test_the_discriminator_in_the_package_is_of_the_recipes_kind():
    weights = load_file(DISCRIMINATOR)
    build_discriminator("features", 64).load_state_dict(weights)
    assert all(tensor.isfinite().all() for tensor in weights.values()) and DISCRIMINATOR.stat().st_size < 1e6


def test_the_photographs_are_few_and_each_is_named():
    files = sorted(PHOTOGRAPHS.glob("*.webp"))
    assert len(files) == 15 and sum(path.stat().st_size for path in files) < 4e6
    listed = (PHOTOGRAPHS / "README.md").read_text()
    assert all(f"`{path.name}`" in listed for path in files)
