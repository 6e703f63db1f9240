"""The command line: what a batch reads and writes, what it skips, refuses and survives."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image
from process_group import Script, run_script
from safetensors.torch import save_file

from ssg_hub.cli import COMMANDS, build_parser, main
from ssg_hub.commands import jobs
from ssg_hub.commands.batch import parse_strength
from ssg_hub.commands.jobs import plan_jobs
from ssg_hub.errors import ImageError
from ssg_hub.images import formats

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three pictures, one of them in a folder below."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    for index, name in enumerate(["a.png", "b.webp", "below/c.jpg"]):
        make_picture(folder / name, seed=index)
    return folder


def make_picture(path: Path, seed: int = 0, size: tuple[int, int] = (12, 8)) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(path)


def ssg(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_upscaled_with_its_structure_and_companions(photos, saved, tmp_path, tiny_model):
    out = tmp_path / "out"
    assert ssg("upscale", photos, "-o", out, "--model", saved, "--mask", "--drift", "--overlay") == 0
    stems = ["a", "b", "below/c"]
    assert files_in(out) == {f"{stem}{end}.png" for stem in stems for end in ("", "_mask", "_drift", "_overlay")}
    expected = tiny_model.upscale(photos / "a.png")
    assert np.array_equal(Image.open(out / "a.png"), expected.image)
    mask = Image.open(out / "a_mask.png")
    assert mask.mode == "P" and mask.size == (48, 32)
    assert np.array_equal(mask, expected.mask) and mask.getpalette() == expected.mask.getpalette()
    drift = Image.open(out / "a_drift.png")
    assert drift.mode == "L" and np.array_equal(drift, expected.drift)
    assert Image.open(out / "below" / "c_overlay.png").size == (48, 32)


def test_what_is_done_is_skipped_and_never_replaced_unasked(photos, saved, tmp_path, capsys):
    out = tmp_path / "out"
    ssg("upscale", photos, "-o", out, "--model", saved)
    (out / "b.png").unlink()
    (out / "a.png").write_bytes(b"mine")
    capsys.readouterr()
    assert ssg("upscale", photos, "-o", out, "--model", saved) == 0
    said = capsys.readouterr().err
    assert (out / "a.png").read_bytes() == b"mine"
    assert (out / "b.png").is_file()
    assert said.count("skipped /") == 2 and "1 upscaled, 2 skipped, 0 failed" in said
    assert ssg("upscale", photos, "-o", out, "--model", saved, "--overwrite") == 0
    assert Image.open(out / "a.png").size == (48, 32)


def test_a_mask_asked_for_later_is_added_and_the_picture_stays(photos, saved, tmp_path):
    out = tmp_path / "out"
    ssg("upscale", photos / "a.png", "-o", out, "--model", saved)
    (out / "a.png").write_bytes(b"mine")
    assert ssg("upscale", photos / "a.png", "-o", out, "--model", saved, "--mask") == 0
    assert (out / "a.png").read_bytes() == b"mine" and (out / "a_mask.png").is_file()


def test_a_failed_file_is_reported_and_the_rest_go_on(photos, saved, tmp_path, capsys):
    (photos / "aa.png").write_bytes(b"this is text")
    (photos / "empty.png").touch()
    assert ssg("upscale", photos, "-o", tmp_path / "out", "--model", saved) == 1
    said = capsys.readouterr().err
    assert files_in(tmp_path / "out") == {"a.png", "b.png", "below/c.png"}
    assert f"failed {photos / 'aa.png'}" in said and f"failed {photos / 'empty.png'}" in said
    assert "3 upscaled, 0 skipped, 2 failed" in said and "Traceback" not in said


def test_results_of_an_earlier_run_are_no_inputs(photos, saved):
    out = photos / "out"
    for _ in range(2):
        assert ssg("upscale", photos, "-o", out, "--model", saved) == 0
    assert files_in(out) == {"a.png", "b.png", "below/c.png"}


def test_one_file_to_one_file_with_options(photos, saved, tmp_path, tiny_model):
    out = tmp_path / "result.tif"
    options = ["--outscale", "2.5", "--strength", "car=0.5,sky=0", "--tile", "16", "--no-color-fix"]
    assert ssg("upscale", photos / "a.png", "-o", out, "--model", saved, *options) == 0
    expected = tiny_model.upscale(
        photos / "a.png", outscale=2.5, strength={"car": 0.5, "sky": 0}, tile=16, color_fix=False
    )
    assert np.array_equal(Image.open(out), expected.image)


@pytest.mark.parametrize("options", [[], ["--color-fix"]])
def test_colours_are_held_unless_that_is_switched_off(options, photos, saved, tmp_path, tiny_model):
    assert ssg("upscale", photos / "a.png", "-o", tmp_path / "a.png", "--model", saved, *options) == 0
    held, free = (tiny_model.upscale(photos / "a.png", **more).image for more in ({}, {"color_fix": False}))
    assert np.array_equal(Image.open(tmp_path / "a.png"), held) and not np.array_equal(held, free)


def test_a_community_file_is_a_model_too(photos, tmp_path, tiny_model):
    torch.save({"params_ema": tiny_model.generator.state_dict()}, tmp_path / "x4.pth")
    out = tmp_path / "out"
    assert ssg("upscale", photos / "a.png", "-o", out, "--model", tmp_path / "x4.pth") == 0
    expected = tiny_model.upscale(photos / "a.png", segment=False)
    assert np.array_equal(Image.open(out / "a.png"), expected.image)
    assert ssg("upscale", photos / "a.png", "-o", tmp_path / "two", "--model", tmp_path / "x4.pth", "--mask") == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{photos}/none.png", "-o", "{tmp}/out"], "no file or folder"),
        (["{empty}", "-o", "{tmp}/out"], "no pictures in"),
        (["{clips}", "-o", "{tmp}/out"], "There are clips, such as a.mp4"),
        (["{photos}/a.png", "-o", "{tmp}/x.png", "--manifest", "{tmp}/x.png"], "also the name of a result"),
        (["{photos}", "-o", "{tmp}/out.png"], "names one file"),
        (["{photos}", "-o", "{photos}"], "would replace the input"),
        (["{photos}/a.png", "-o", "{photos}/a.png/below"], "a.png is a file; -o takes a folder"),
        (["{photos}/a.png", "-o", "{tmp}/out.png", "--format", "webp"], "disagree"),
        (["{photos}/a.png", "-o", "{tmp}/out.gif"], "not written"),
        (["{photos}/a.png", "{photos}/twin/a.png", "-o", "{tmp}/out"], "both be written"),
        (["{photos}/a.png", "-o", "{tmp}/out", "--strength", "dragon=1"], "dragon"),
        (["{photos}/a.png", "-o", "{tmp}/out", "--model", "{tmp}/nowhere"], "nowhere"),
    ],
)
def test_a_request_that_cannot_be_done_is_one_line(arguments, words, photos, saved, tmp_path, capsys):
    (photos / "twin").mkdir()
    make_picture(photos / "twin" / "a.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"clip")
    names = {"photos": photos, "tmp": tmp_path, "empty": tmp_path / "empty", "clips": tmp_path / "clips"}
    arguments = [argument.format(**names) for argument in arguments]
    model = [] if "--model" in arguments else ["--model", saved]
    before = files_in(tmp_path)
    assert ssg("upscale", *arguments, *model) == 2
    said = capsys.readouterr().err.strip()
    assert words in said and said.startswith("ssg upscale:") and "\n" not in said
    assert files_in(tmp_path) == before


def test_collisions_are_refused_also_between_masks_and_formats(photos):
    make_picture(photos / "a.jpg")
    with pytest.raises(ImageError, match="both be written.*Use --format same"):
        plan_jobs([photos], photos.parent / "out")
    assert len(plan_jobs([photos], photos.parent / "out", format="same").jobs) == 4
    for format in ("same", None):  # the first does not help where the names of pictures alone would differ
        with pytest.raises(ImageError, match="both be written.*Rename one, or"):
            plan_jobs([photos], photos.parent / "out", format, companions=["mask"])
    (photos / "a.jpg").unlink()
    make_picture(photos / "a_mask.png")
    with pytest.raises(ImageError, match="both be written"):
        plan_jobs([photos], photos.parent / "out", companions=["mask"])


def test_a_dot_in_a_name_is_no_suffix_and_a_file_named_twice_is_one_job(tmp_path):
    make_picture(tmp_path / "v1.2.png")
    (tmp_path / "v1.2.png").rename(tmp_path / "v1.2")
    planned = plan_jobs([tmp_path / "v1.2"] * 2, tmp_path / "out").jobs
    assert [job.image for job in planned] == [tmp_path / "out" / "v1.2.png"]


def test_the_formats_planned_are_those_that_can_be_written():
    assert {formats.WRITTEN[ending] for ending in jobs.FORMATS.values()} == set(formats.WRITTEN.values())


@pytest.mark.parametrize("mask", [[], ["--mask"]])
def test_a_batch_into_its_own_folder_can_be_taken_up_again(photos, saved, mask, capsys):
    for index, name in enumerate(["a.png", "b.webp", "below/c.jpg"]):
        (photos / name).rename(photos / f"{name[:-4].rstrip('.')}.jfif")
        make_picture(photos / f"{name[:-4].rstrip('.')}.jpg", seed=index)
        (photos / f"{name[:-4].rstrip('.')}.jfif").unlink()
    assert ssg("upscale", photos, "-o", photos, "--model", saved, *mask) == 0
    before = files_in(photos)
    assert len(before) == 9 if mask else 6
    for again in (mask, []):
        assert ssg("upscale", photos, "-o", photos, "--model", saved, *again) == 0
        assert "0 upscaled, 3 skipped, 0 failed" in capsys.readouterr().err
    assert files_in(photos) == before
    assert ssg("upscale", photos, "-o", photos, "--model", saved, "--overwrite") == 2  # a.png might be an original
    assert "would replace the input" in capsys.readouterr().err
    make_picture(photos / "a.png", size=(13, 8))  # not what upscaling a.jpg gives
    assert ssg("upscale", photos, "-o", photos, "--model", saved) == 2


def test_what_is_left_out_and_every_note_of_the_library_is_said(photos, saved, tmp_path, capsys):
    (photos / "drawing.svg").write_text("<svg/>")
    (photos / "walk.MOV").touch()
    (photos / "._a.png").write_bytes(b"resource fork")
    frames = [Image.new("RGBA", (12, 8), (shade, 0, 0, 99)) for shade in (0, 200)]
    frames[0].save(photos / "moving.webp", save_all=True, append_images=frames[1:])
    assert ssg("upscale", photos, "-o", tmp_path / "out", "--model", saved, "--format", "jpeg", "-q") == 0
    said = capsys.readouterr().err
    assert f"left out 1 file, such as {photos / 'drawing.svg'}: names of pictures end in" in said and "._a" not in said
    assert f"left out 1 clip, such as {photos / 'walk.MOV'}: give clips by their names" in said
    assert f"note {photos / 'moving.webp'}: The file holds 2 frames" in said
    assert f"note {photos / 'moving.webp'}: JPEG holds no transparency" in said


def test_a_link_to_a_folder_is_said_to_be_left_out(photos, saved, tmp_path, capsys):
    (photos / "below").rename(tmp_path / "elsewhere")
    (photos / "linked").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert ssg("upscale", photos, "-o", tmp_path / "out", "--model", saved, "-q") == 0
    assert files_in(tmp_path / "out") == {"a.png", "b.png"}
    assert f"left out 1 link to folders, such as {photos / 'linked'}" in capsys.readouterr().err
    for name in ("a.png", "b.webp"):
        (photos / name).unlink()
    with pytest.raises(ImageError, match="Links to folders, such as linked, are not followed"):
        plan_jobs([photos], tmp_path / "out")


def test_one_walk_finds_pictures_other_files_and_links(photos, tmp_path, monkeypatch):
    (photos / "notes.txt").touch()
    (photos / "below" / "clip.mp4").touch()
    (photos / "below" / "linked").symlink_to(tmp_path, target_is_directory=True)
    walk = Mock(side_effect=os.walk)
    monkeypatch.setattr(formats.os, "walk", walk)
    plan = plan_jobs([photos], tmp_path / "out")
    assert [job.source for job in plan.jobs] == [photos / name for name in ("a.png", "b.webp", "below/c.jpg")]
    assert plan.left_out == [photos / "below/clip.mp4", photos / "notes.txt"]
    assert plan.links == [photos / "below/linked"] and walk.call_count == 1


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="this system has no names for pipes")
@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_picture_comes_through_a_pipe(stream, photos, saved, tmp_path, tiny_model):
    reader, writer = os.pipe()
    with open(reader), open(writer, "wb") as file:
        file.write((photos / "a.png").read_bytes())
        file.close()
        assert ssg("upscale", f"/dev/fd/{reader}", "-o", tmp_path / "a.png", "--model", saved, "-q", *stream) == 0
    assert np.array_equal(Image.open(tmp_path / "a.png"), tiny_model.upscale(photos / "a.png").image)


def test_a_dash_is_what_is_piped_in_and_no_result(capsys):
    read = build_parser("upscale").parse_args
    assert read(["upscale", "-", "./-", "-o", "a.png"]).inputs == [Path("/dev/stdin"), Path("-")]
    with pytest.raises(SystemExit):
        read(["upscale", "a.png", "-o", "-"])
    assert "results are written to files" in capsys.readouterr().err


def test_links_that_lead_nowhere_or_in_a_circle_fail_by_themselves(photos, saved, capsys):
    (photos / "gone.png").symlink_to(photos / "nowhere.png")
    (photos / "circle.png").symlink_to(photos / "circle.png")
    assert ssg("upscale", photos, "-o", photos / "out", "--model", saved, "-q") == 1
    assert "3 upscaled, 0 skipped, 2 failed" in capsys.readouterr().err


def test_max_pixels_holds_above_what_pillow_opens(saved, tmp_path, capsys, monkeypatch, recwarn):
    make_picture(tmp_path / "a.jpg")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # Pillow refuses twice as much; the picture has 96
    command = ("upscale", tmp_path / "a.jpg", "-o", tmp_path / "a.png", "--model", saved, "-q", "--max-pixels")
    assert ssg(*command, 95) == 1
    assert "= 96 pixels; the limit is 95. Make it smaller, or raise max_pixels" in capsys.readouterr().err
    assert ssg(*command, 96) == 0 and Image.MAX_IMAGE_PIXELS == 40
    assert not [found for found in recwarn if found.category is Image.DecompressionBombWarning]


@pytest.mark.parametrize("output", ["out.avi", "out.xyz", "out.tga", "out.heic"])
def test_an_unknown_ending_of_the_output_is_refused(output, photos, saved, tmp_path, capsys):
    assert ssg("upscale", photos / "a.png", "-o", tmp_path / output, "--model", saved) == 2
    assert "written" in capsys.readouterr().err and not (tmp_path / output).exists()
    (tmp_path / output).mkdir()
    assert ssg("upscale", photos / "a.png", "-o", tmp_path / output, "--model", saved) == 0
    assert files_in(tmp_path / output) == {"a.png"}


def test_a_file_that_cannot_be_written_is_refused_before_the_network_runs(photos, saved, tmp_path, monkeypatch, capsys):
    def never(*args, **options):
        raise AssertionError("the network ran")

    make_picture(photos / "a.png", size=(4096, 2))
    monkeypatch.setattr("ssg_hub.model.SSGModel.upscale", never)
    (tmp_path / "in_the_way" / "a.png").mkdir(parents=True)
    for options, words in (
        (["-o", tmp_path / "out.webp"], "ends at 16383 pixels"),
        (["-o", tmp_path / "out.jpg", "--outscale", "16"], "ends at 65500 pixels"),
        (["-o", tmp_path / ("x" * 252 + ".jpg")], "255 are allowed"),
        (["-o", tmp_path / "in_the_way", "--overwrite"], "is a folder"),
    ):
        assert ssg("upscale", photos / "a.png", "--model", saved, *options) == 1
        said = capsys.readouterr().err
        assert f"failed {photos / 'a.png'}" in said and words in said and "0 upscaled, 0 skipped, 1 failed" in said


def test_one_name_that_is_too_long_does_not_end_a_batch(photos, saved, tmp_path, capsys):
    long = "x" * 248
    (photos / "b.webp").rename(photos / f"{long}.webp")
    assert ssg("upscale", photos, "-o", tmp_path / "out", "--model", saved, "--mask") == 1
    assert files_in(tmp_path / "out") == {"a.png", "a_mask.png", "below/c.png", "below/c_mask.png"}
    assert "2 upscaled, 0 skipped, 1 failed" in capsys.readouterr().err
    assert ssg("upscale", photos / f"{long}.webp", "-o", tmp_path / "out", "--model", saved) == 0
    assert ssg("upscale", photos / ("y" * 300), "-o", tmp_path / "out", "--model", saved) == 2


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_no_console_ends_a_command(encoding, photos, tmp_path):
    """Names may hold what a console cannot show, also bytes that are no text at all."""
    strange = photos / os.fsdecode("海\udcff→.png".encode(errors="surrogateescape"))
    (photos / "a.png").rename(strange)
    code = (
        "import sys; from ssg_hub.cli import main\n"
        "from ssg_hub.commands import info; info.describe = lambda name: {'model': name, 'labels': ['→ ü']}\n"
        "print(main(['info', sys.argv[1]]), main(['info', sys.argv[1], '--json']), main(['info', '--help']))"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding}
    ran = subprocess.run([sys.executable, "-c", code, str(strange)], cwd=ROOT, env=env, capture_output=True)
    assert ran.returncode == 0 and b"Traceback" not in ran.stderr and b"usage" in ran.stdout
    ran = subprocess.run(
        [sys.executable, "-m", "ssg_hub", "upscale", str(strange) + "?", "-o", "x"],
        cwd=ROOT,
        env=env,
        capture_output=True,
    )
    assert ran.returncode == 2 and b"no file or folder" in ran.stderr and b"Traceback" not in ran.stderr


@pytest.mark.parametrize("words", [1, 100_000])
def test_a_reader_that_has_seen_enough_gets_no_traceback(words):
    """As `ssg info | head -1` ends: with output that the buffer holds, and with more."""
    code = (
        "import sys; from ssg_hub.cli import main\n"
        f"from ssg_hub.commands import info; info.describe = lambda name: {{'model': name * {words}}}\n"
        "sys.exit(main(['info', 'name', '--json']))"
    )
    reader, writer = os.pipe()
    os.close(reader)
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (ran.returncode, ran.stderr) == (1, b"")


@pytest.mark.parametrize("closed", ["2>&-", pytest.param(">&-", marks=pytest.mark.slow), "<&- >&- 2>&-"])
def test_closed_streams_do_not_stop_the_work(closed, photos, tmp_path):
    out = tmp_path / "out"
    command = f'"{sys.executable}" -m ssg_hub upscale "{photos}" -o "{out}" {closed}'
    assert subprocess.run(command, shell=True, cwd=ROOT).returncode == 0
    assert {path.stem for path in out.rglob("*.png")} == {"a", "b", "c"}


def test_strength_is_read_as_a_number_or_by_class():
    assert parse_strength("0.8") == 0.8
    assert parse_strength("car=0.5, traffic light=1,") == {"car": 0.5, "traffic light": 1.0}


@pytest.mark.parametrize(
    "option",
    [
        ["--strength", "much"],
        ["--strength", "car=1,car=0"],
        ["--tile", "-3"],
        ["--format", "bmp"],
        ["--max-pixels", "0"],
    ],
)
def test_a_malformed_option_is_refused_by_the_parser(option, photos, capsys):
    with pytest.raises(SystemExit) as stop:
        ssg("upscale", photos, "-o", "out", *option)
    assert stop.value.code == 2 and option[0] in capsys.readouterr().err


@pytest.mark.parametrize("port", ["-3", "65536", "http"])
def test_a_port_that_cannot_be_is_refused_before_the_page_is_made(port, capsys):
    with pytest.raises(SystemExit):
        ssg("demo", "--port", port)
    assert f"from 0 to 65535, not '{port}'" in capsys.readouterr().err


def test_an_address_is_not_taken_for_a_path(capsys):
    with pytest.raises(SystemExit):
        ssg("upscale", "https://example.com/old.jpg", "-o", "out")
    assert "curl -s https://example.com/old.jpg | ssg upscale -" in capsys.readouterr().err


@pytest.mark.parametrize("words", [("upscale", "", "-o", "out"), ("adapt", "photos", "-o", ""), ("info", "")])
def test_an_empty_word_is_not_the_current_folder(words, tmp_path, monkeypatch, capsys):
    """What a shell passes on for "$UNSET"."""
    monkeypatch.chdir(tmp_path)
    assert main([*words]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ssg: one of the words after ssg is empty, ") and said.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["{saved}", "~/model"])
def test_info_tells_what_a_model_is(name, saved, tiny_model, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ssg("info", name.format(saved=saved), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["labels"] == tiny_model.labels and facts["scale"] == 4 and facts["guide"] == "segformer"
    assert facts["generator_parameters"] == sum(p.numel() for p in tiny_model.generator.parameters())
    assert facts["bytes_on_disk"] == (tmp_path / "model" / "diffusion_pytorch_model.safetensors").stat().st_size
    assert ssg("info", saved) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.split() == ["labels", "sky,", "road,", "car,", "tree"] for line in lines)
    assert any(line.split() == ["calibration", "none"] for line in lines)
    assert ssg("info", tmp_path / "nowhere") == 2


def test_converted_weights_do_not_replace_their_source(tiny_model, tmp_path, capsys):
    weights = tmp_path / "weights.safetensors"
    save_file(tiny_model.generator.state_dict(), weights)
    before = weights.read_bytes()
    assert main(["convert", str(weights), "-o", str(tmp_path / "." / weights.name), "--overwrite"]) == 2
    assert "would replace the weights that it is made from" in capsys.readouterr().err
    assert weights.read_bytes() == before


def test_the_help_is_there_without_torch_and_every_command_can_be_built():
    code = "import sys, ssg_hub.cli as c; c.build_parser().format_help(); c.build_parser('upscale'); "
    subprocess.run([sys.executable, "-c", code + "assert 'torch' not in sys.modules"], check=True, cwd=ROOT)
    for command in COMMANDS:
        assert command in build_parser(command).format_help()


def test_ctrl_c_ends_without_a_traceback(photos, saved, tmp_path, monkeypatch, capsys):
    def interrupted(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ssg_hub.upscaler.Upscaler.upscale", interrupted)
    assert ssg("upscale", photos, "-o", tmp_path / "out", "--model", saved) == 130
    told = capsys.readouterr().err
    assert "the same command goes on" in told and "interrupted" in told and files_in(tmp_path / "out") == set()
    assert ssg("upscale", photos, "-o", tmp_path / "out", "--model", saved, "--overwrite") == 130
    assert "the same command" not in capsys.readouterr().err


ENDED = """
import sys, time
from pathlib import Path
from ssg_hub import cli
from ssg_hub.commands import pictures
from ssg_hub.images.writing import whole_picture

def write_slowly(job, result, overwrite):
    with whole_picture(job.image, overwrite) as file:
        file.write(b"half a picture")
        file.flush()
        print("begun", file=sys.stderr, flush=True)
        time.sleep(1)

pictures.write_result = write_slowly
sys.exit(cli.main({words}))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("number", ["SIGTERM", pytest.param("SIGHUP", marks=pytest.mark.slow)])
def test_a_signal_that_ends_a_batch_leaves_no_half_file(number, photos, saved, tmp_path):
    out, said = tmp_path / "out", tmp_path / "said.txt"
    words = ["upscale", str(photos), "-o", str(out), "--model", str(saved)]
    script = Script(ENDED.format(words=words), {}, said)
    while not said.is_file() or "begun" not in said.read_text():
        assert script.process.is_alive(), said.read_text()
        time.sleep(0.01)
    os.kill(script.process.pid, getattr(signal, number))
    code, told = script.end()
    assert code == 130 and told.strip().endswith("ssg upscale: interrupted")
    assert not list(out.glob(".*.tmp"))


def test_two_processes_share_a_batch_and_both_tell_of_a_failure(photos, saved, tmp_path):
    (photos / "broken.png").write_bytes(b"this is text")
    out = tmp_path / "out"
    words = ["ssg", "upscale", str(photos), "-o", str(out), "--model", str(saved)]
    script = f"import runpy, sys; sys.argv = {words}; runpy.run_module('ssg_hub', run_name='__main__')"
    (code, first), (other_code, other) = run_script(script, tmp_path)
    assert [code, other_code] == [1, 1], (first, other)
    assert files_in(out) == {"a.png", "b.png", "below/c.png"}
    assert "3 upscaled, 0 skipped, 1 failed" in first and "upscaled" not in other
