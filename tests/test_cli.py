from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from counting import Library
from folders import PAPER
from gpus import pretend_cupy, pretend_no_cupy
from iem_xp import engines, fused
from iem_xp.config import IEMConfig
from iem_xp.engines import Automatic, estimate_work
from iem_xp.memory import bytes_per_image
from iem_xp.runs.store import Run
from iem_xp.threads import usable_cpus
from iem_xp_cli.main import COMMANDS, cli

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cameraman", "cat", "cell", "coffee", "flower", "tissue")
PROGRAM = Path(sys.executable).with_name("iem-xp")
QUICK = ("--iterations", "6", "--size", "32", "--device", "cpu")
KEYS = {
    "run",
    "done",
    "failed",
    "skipped",
    "seconds",
    "images_per_second",
    "device",
    "engine",
    "workers",
    "init_side",
    "mean_inpainting_error",
    "mean_information",
    "stages",
}


def photograph(name: str, width: int = 48, height: int = 40) -> Image.Image:
    return Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((width, height))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, where `photos` holds six photographs, two of them in sub-folders."""
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        folder = Path("photos", {"cell": "science", "tissue": "science/slides"}.get(name, ""))
        folder.mkdir(parents=True, exist_ok=True)
        photograph(name).save(folder / f"{name}.png")
    return tmp_path


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def segment(*arguments: str, status: int = 0) -> Result:
    result = run("segment", *PAPER, *arguments, *QUICK)
    assert result.exit_code == status, result.output
    return result


def summary(*arguments: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(segment(*arguments, "--json", status=status).stdout)
    return found


def program(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([PROGRAM, *arguments], capture_output=True, check=False, **options)


def masks(folder: str = "iem-run") -> dict[str, bytes]:
    root = Path(folder, "masks")
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}


def query(statement: str, folder: str = "iem-run") -> list[tuple[Any, ...]]:
    # Not made, if it is not there yet: a run that is just beginning would take it for another's.
    file = Path(folder, "run.sqlite").absolute().as_uri()
    database = sqlite3.connect(f"{file}?mode=rw", timeout=30, uri=True)
    try:
        return database.execute(statement).fetchall()
    finally:
        database.close()


ROWS = (
    "SELECT path, status, error, width, height, init_side, inpainting_error, updates, information, "
    "foreground_share FROM images ORDER BY path"
)


# ---- What goes in


def test_a_folder_becomes_a_run_that_keeps_its_folders() -> None:
    result = segment("photos")
    assert set(masks()) == {
        "cameraman.png",
        "cat.png",
        "coffee.png",
        "flower.png",
        "science/cell.png",
        "science/slides/tissue.png",
    }
    for name in masks():
        mask = iio.imread(Path("iem-run/masks", name))
        assert mask.shape == (40, 48)
        assert set(np.unique(mask)) <= {0, 255}
    assert "6 done, 0 failed, 0 done before" in result.stdout
    assert re.search(r"^initial square: \d+$", result.stdout, re.MULTILINE)
    assert re.search(r"^masks: iem-run/masks$", result.stdout, re.MULTILINE)


def test_a_pattern_a_list_and_several_inputs() -> None:
    segment("photos/c*.png", "-o", "a")
    assert set(masks("a")) == {"cameraman.png", "cat.png", "coffee.png"}
    Path("list.txt").write_text("# two of them\nphotos/cat.png\n\nphotos/science/cell.png\n")
    segment("list.txt", "-o", "b")
    assert set(masks("b")) == {"cat.png", "science/cell.png"}
    segment("photos/science", "photos/cat.png", "-o", "c")
    assert set(masks("c")) == {"cat.png", "science/cell.png", "science/slides/tissue.png"}


def test_standard_input_gives_on_standard_output_the_mask_that_a_run_has() -> None:
    segment("photos", "--choose", "image")
    piped = program("segment", *PAPER, "-", *QUICK, input=Path("photos/cat.png").read_bytes())
    assert piped.returncode == 0, piped.stderr
    assert piped.stdout == masks()["cat.png"]
    assert b"device: cpu" in piped.stderr


def test_standard_input_that_is_no_image_is_an_error_and_writes_nothing() -> None:
    piped = program("segment", *PAPER, "-", *QUICK, input=b"no image")
    assert piped.returncode == 1
    assert piped.stdout == b""
    assert b"standard input: not an image" in piped.stderr
    assert b"Traceback" not in piped.stderr


def test_standard_input_that_is_larger_than_any_image_is_not_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("iem_xp.archives.base", "iem_xp_cli.session"):
        monkeypatch.setattr(f"{place}.LARGEST", 1_000)
    result = CliRunner().invoke(
        cli, ["segment", *PAPER, "-", *QUICK], input=Path("photos/cat.png").read_bytes()
    )
    assert result.exit_code == 1
    assert "standard input: has 1,001 bytes, more than an image" in result.stderr


@pytest.mark.parametrize("more", [["photos"], ["-o", "x"], ["--json"], ["--cutout"], ["--limit", "3"]])
def test_standard_input_goes_alone(more: list[str]) -> None:
    assert "- reads one image" in segment("-", *more, status=2).stderr


def test_the_run_inside_the_input_folder_is_not_read_back() -> None:
    for _ in range(2):
        segment("photos", "-o", "photos/run")
        assert len(masks("photos/run")) == 6
        assert query("SELECT COUNT(*) FROM images", "photos/run") == [(6,)]


def test_files_that_are_no_images_are_counted() -> None:
    Path("photos/notes.md").touch()
    Path("photos/more.md").touch()
    assert "not images, left out: 2 x .md" in segment("photos").stderr


# ---- What comes out


def test_the_json_summary_is_one_object_with_the_promised_keys() -> None:
    result = segment("photos", "--json")
    found = json.loads(result.stdout)
    assert found.keys() >= KEYS
    assert (found["run"], found["done"], found["failed"], found["skipped"]) == ("iem-run", 6, 0, 0)
    assert (found["device"], found["init_side"] in (44, 78, 92)) == ("cpu", True)
    assert found["seconds"] > 0
    assert found["images_per_second"] == pytest.approx(6 / found["seconds"], rel=0.05)
    assert found["stages"].keys() == {"read", "compute", "write"}
    assert found["workers"] == usable_cpus()
    ((mean,),) = query("SELECT AVG(inpainting_error) FROM images")
    assert found["mean_inpainting_error"] == pytest.approx(mean)
    assert "device: cpu" in result.stderr


@pytest.mark.parametrize("engine", ["array", "fused"])
def test_the_engine_asked_for_does_the_work(engine: str) -> None:
    assert summary("photos", "--choose", "image", "--engine", engine)["engine"] == engine
    photo = Path("photos/cat.png").read_bytes()
    assert (
        program("segment", *PAPER, "-", "--engine", engine, *QUICK, input=photo).stdout == masks()["cat.png"]
    )


def test_an_engine_that_takes_the_filter_takes_it_for_images_of_every_shape() -> None:
    photograph("cat", 240, 60).save("photos/wide.png")
    options = ("--size", "16", "--kernel-size", "45", "--sigma", "3", "--repeats", "1")
    result = run("segment", *PAPER, "photos/wide.png", "--engine", "fused", *options)
    assert result.exit_code == 2  # before anything is done: only in a square of 16 no weight is too small
    assert "--engine fused: the fused engine cannot take" in result.stderr


def test_the_engine_depends_on_how_many_images_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    four = 4 * 3 * estimate_work(32 * 32, IEMConfig(iterations=6))
    monkeypatch.setattr(Automatic, "LOADING", four)
    monkeypatch.setattr(Automatic, "COMPILING", four)
    monkeypatch.setattr(fused, "is_compiled", lambda: False)
    few = segment("photos", "--limit", "3", "--workers", "1", "--json")
    assert json.loads(few.stdout)["engine"] == "array"
    assert "compiling" not in few.stderr
    monkeypatch.setattr(engines, "automatic", Automatic())
    many = segment("photos", "-o", "many", "--workers", "1", "--json")
    assert json.loads(many.stdout)["engine"] == "fused"
    assert "engine: fused (compiling it first, about 10 s, once on this machine)" in many.stderr
    ((engines_used,),) = query("SELECT value FROM meta WHERE key = 'engines'", "many")
    assert json.loads(engines_used) == ["fused"]


def test_the_engine_depends_on_how_many_images_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    segment("photos", "--limit", "4", "--engine", "array")
    monkeypatch.setattr(Automatic, "LOADING", 4 * 3 * estimate_work(32 * 32, IEMConfig(iterations=6)))
    monkeypatch.setattr(fused, "start", lambda: pytest.fail("it is not worth it"))
    assert summary("photos", "--workers", "1")["engine"] == "array"
    assert summary("photos")["engine"] is None


def test_the_engine_depends_on_how_many_workers_share_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Automatic, "LOADING", 4 * 3 * estimate_work(32 * 32, IEMConfig(iterations=6)))
    assert summary("photos", "-o", "three", "--workers", "3")["engine"] == "array"
    monkeypatch.setattr(engines, "automatic", Automatic())
    assert summary("photos", "-o", "one", "--workers", "1")["engine"] == "fused"


def test_no_engine_is_started_for_what_cannot_be_segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Automatic, "LOADING", 0)
    monkeypatch.setattr(fused, "start", lambda: pytest.fail("for what?"))
    Path("text").mkdir()
    Path("text/no.jpg").write_text("text")
    assert summary("text", status=1)["engine"] is None
    segment("photos", "-o", "photos", status=2)


def test_the_json_summary_stands_alone_on_a_real_standard_output() -> None:
    done = program("segment", *PAPER, "photos", "--json", *QUICK)
    assert done.stdout.count(b"\n") == 1
    assert json.loads(done.stdout)["done"] == 6


def test_the_summary_says_what_the_workers_did_with_their_time() -> None:
    line = r"^time: \d+% reading, \d+% computing \(array engine\), \d+% writing; 3 workers, \d+% busy$"
    assert re.search(line, segment("photos", "--workers", "3").stdout, re.MULTILINE)
    assert "time:" not in segment("photos", "--workers", "3").stdout  # there was nothing to do
    assert summary("photos", "-o", "one", "--workers", "1")["workers"] == 1
    assert masks("one") == masks()


def test_no_square_is_named_when_it_is_chosen_per_image() -> None:
    assert summary("photos", "--choose", "image")["init_side"] is None
    assert "initial square: chosen per image" in segment("photos", "--choose", "image").stdout


def test_extra_pictures_lie_beside_the_masks() -> None:
    segment("photos", "--cutout", "--overlay", "--inpainted")
    shapes = {"cutouts": (40, 48, 4), "overlays": (40, 48, 3), "inpainted": (32, 38, 3)}
    for folder, shape in shapes.items():
        for name in masks():
            assert iio.imread(Path("iem-run", folder, name)).shape == shape
    cut = iio.imread("iem-run/cutouts/science/cell.png")
    np.testing.assert_array_equal(cut[..., 3], iio.imread("iem-run/masks/science/cell.png"))


def test_no_extra_pictures_unless_asked_for() -> None:
    segment("photos")
    assert sorted(path.name for path in Path("iem-run").iterdir()) == ["masks", "run.lock", "run.sqlite"]


def test_the_paper_preset_masks_the_centre_crop_and_says_so() -> None:
    result = run("segment", "photos", "--preset", "paper", "--iterations", "2", "--device", "cpu")
    assert result.exit_code == 0
    assert "crop" in result.stdout
    assert {iio.imread(Path("iem-run/masks", name)).shape for name in masks()} == {(128, 128)}


def test_options_win_over_the_config_file_and_that_over_the_preset() -> None:
    Path("mine.toml").write_text("sigma = 2.0\niterations = 3\nchoose = 'image'\n")
    result = run("segment", "photos", "--preset", "paper", "--config", "mine.toml", *QUICK)
    assert result.exit_code == 0, result.output
    ((stored,),) = query("SELECT value FROM meta WHERE key = 'configuration'")
    configuration = json.loads(stored)
    assert (configuration["sigma"], configuration["choose"]) == (2.0, "image")
    assert (configuration["iterations"], configuration["size"], configuration["fit"]) == (6, 32, "crop")
    assert {iio.imread(Path("iem-run/masks", name)).shape for name in masks()} == {(32, 32)}


def test_masks_follow_the_edges_of_their_images_in_a_run_and_in_a_pipe() -> None:
    photo = Path("photos/cat.png").read_bytes()
    options = ["--preset", "best"]
    segment("photos", *options, "-o", "default")
    segment("photos", *options, "--edges", "none", "-o", "plain")
    default, plain = (Path(run, "masks/cat.png").read_bytes() for run in ("default", "plain"))
    assert default != plain
    assert program("segment", "-", *QUICK, *options, input=photo).stdout == default
    assert program("segment", "-", *QUICK, *options, "--edges", "none", input=photo).stdout == plain


def test_an_unknown_way_to_edges_lists_those_there_are() -> None:
    assert "'none', 'guided', 'iem'" in segment("photos", "--edges", "sharp", status=2).stderr


def test_every_option_of_the_method_reaches_the_run() -> None:
    options = "--init-sides 20,90 --choose image --kernel-size 5 --sigma 2 --repeats 1 --scale-factor 2"
    options += " --regularization 0.5 --epsilon 1e-6 --no-boundary-only --no-smooth --fit crop --edges iem"
    options += " --colour-space lab --colour-weight 0.01 --colours 9 --cut"
    segment("photos", *options.split())
    ((stored,),) = query("SELECT value FROM meta WHERE key = 'configuration'")
    assert json.loads(stored) == {
        "iterations": 6, "init_sides": [20, 90], "choose": "image", "kernel_size": 5, "sigma": 2.0,
        "repeats": 1, "scale_factor": 2, "regularization": 0.5, "epsilon": 1e-6, "colour_space": "lab",
        "colour_weight": 0.01, "colours": 9, "cut": True, "boundary_only": False, "smooth": False, "size": 32,
        "fit": "crop", "edges": "iem", "outputs": [], "store": "files",
    }  # fmt: skip


# ---- Again


def test_a_limit_stops_early_and_the_same_command_without_it_goes_on() -> None:
    assert summary("photos", "--limit", "2")["done"] == 2
    assert len(masks()) == 2
    found = summary("photos")
    assert (found["done"], found["skipped"]) == (4, 2)
    assert len(masks()) == 6


def test_the_same_command_again_does_nothing_twice() -> None:
    segment("photos")
    before = masks(), query("SELECT * FROM images")
    assert "0 done, 0 failed, 6 done before" in segment("photos").stdout
    assert (masks(), query("SELECT * FROM images")) == before


def test_another_configuration_is_refused_and_named() -> None:
    segment("photos")
    before = masks(), query("SELECT * FROM images")
    message = segment("photos", "--sigma", "2", "--overlay", status=2).stderr
    assert "sigma: 5.0 there, 2.0 now" in message
    assert 'outputs: [] there, ["overlay"] now' in message
    assert "iterations" not in message
    assert "--overwrite" in message
    assert (masks(), query("SELECT * FROM images")) == before


def test_overwriting_replaces_the_run_and_leaves_what_is_not_its_own() -> None:
    segment("photos", "--cutout")
    Path("iem-run/notes.txt").write_text("mine")
    found = summary("photos/science", "--sigma", "2", "--overwrite")
    assert (found["done"], found["skipped"]) == (2, 0)
    assert set(masks()) == {"cell.png", "slides/tissue.png"}
    assert not Path("iem-run/cutouts").exists()
    assert Path("iem-run/notes.txt").read_text() == "mine"


def test_a_folder_that_is_no_run_is_left_alone() -> None:
    Path("mine").mkdir()
    Path("mine/run.txt").write_text("mine")
    for options in ([], ["--overwrite"]):
        assert "mine: is no run and not empty" in segment("photos", "-o", "mine", *options, status=2).stderr
    assert [path.name for path in Path("mine").iterdir()] == ["run.txt"]


def test_a_wrong_command_does_not_clear_the_run() -> None:
    segment("photos")
    before = masks()
    segment("nowhere", "--overwrite", status=2)
    assert run("segment", *PAPER, "photos", "--overwrite", "--device", "banana").exit_code == 2
    assert masks() == before


# ---- A GPU, for which arrays that count stand in


@pytest.fixture
def gpu(stand_in: Library, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setattr("iem_xp_cli.segment.take_device", lambda name: name)
    return stand_in


ON_GPU = (*QUICK[:-1], "gpu:0")


def test_a_gpu_has_a_share_of_the_summary_and_finds_the_same_masks(gpu: Library) -> None:
    segment("photos", "-o", "cpu")
    result = run("segment", *PAPER, "photos", *ON_GPU)
    assert (result.exit_code, result.stderr) == (0, "")
    line = r"computing \(array engine\), \d+% writing; \d+ workers?, \d+% busy; gpu:0, \d+% busy$"
    assert re.search(line, result.stdout, re.MULTILINE)
    assert masks() == masks("cpu")


def test_memory_that_does_not_suffice_is_told_on_standard_error(gpu: Library) -> None:
    segment("photos", "-o", "cpu")
    gpu.limit = int(1.5 * bytes_per_image((32, 38, 3)))
    result = run("segment", *PAPER, "photos", *ON_GPU)
    assert result.exit_code == 0
    line = r"^engine: out of memory on gpu:0 with 2 images of 38 x 32 pixels together, 1 from now on$"
    assert re.search(line, result.stderr, re.MULTILINE)
    assert masks() == masks("cpu")


def test_an_image_that_does_not_fit_is_a_failure_with_its_remedy(gpu: Library) -> None:
    gpu.limit = bytes_per_image((32, 38, 3)) // 2
    result = run("segment", *PAPER, "photos/cat.png", *ON_GPU)
    assert result.exit_code == 1
    cause = r"cat\.png: an image of 38 x 32 pixels.*does not fit.*gpu:0.*\(--size\).*\(--device\)$"
    assert re.search(cause, result.stderr, re.MULTILINE)


def test_on_standard_input_too(gpu: Library) -> None:
    gpu.limit = bytes_per_image((32, 38, 3)) // 2
    photo = Path("photos/cat.png").read_bytes()
    result = CliRunner().invoke(cli, ["segment", *PAPER, "-", *ON_GPU], input=photo)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: standard input: an image of 38 x 32 pixels")


# ---- Failures


def test_some_failures_are_listed_with_their_cause_and_exit_1() -> None:
    Path("photos/broken.jpg").write_text("no image")
    Path("photos/empty.jpg").touch()
    result = segment("photos", status=1)
    assert "6 done, 2 failed" in result.stdout
    assert re.search(r"^failed: .*photos/broken\.jpg: not an image", result.stderr, re.MULTILINE)
    assert re.search(r"^failed: .*photos/empty\.jpg: the file is empty$", result.stderr, re.MULTILINE)
    assert summary("photos", status=1)["failed"] == 2


def test_many_failures_are_counted_and_where_they_are_is_told() -> None:
    for number in range(25):
        Path(f"photos/{number}.jpg").touch()
    message = segment("photos", status=1).stderr
    assert message.count("failed: ") == 20
    assert "25 in the whole run: table images of iem-run/run.sqlite" in message


def test_when_all_fail_no_square_is_claimed() -> None:
    Path("photos/broken.jpg").write_text("no image")
    result = segment("photos/broken.jpg", status=1)
    assert "none chosen" in result.stdout
    assert summary("photos/broken.jpg", status=1)["mean_inpainting_error"] is None
    assert "images/s" not in segment("photos/broken.jpg", status=1).stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "'nowhere': no such file or folder"),
        (["no/*.png"], "'no/*.png': no file matches"),
        (["empty"], "no image found in 'empty'"),
        (["photos", "-o", "photos"], "the folder of the run; use another -o"),
        ([], "INPUT"),
        (["photos", "--sigmma", "2"], "--sigma"),
        (["photos", "--device", "banana"], 'must be "auto", "cpu", "gpu" or "gpu:N", not \'banana\''),
        (["photos", "--init-sides", "44;78"], "44,78,92"),
        (["photos", "--init-sides", "44,44"], "init_sides"),
        (["photos", "--kernel-size", "4"], "kernel_size must be odd"),
        (["photos", "--size", "0"], "size must be"),
        (["photos", "--limit", "0"], "--limit"),
        (["photos", "--workers", "0"], "--workers"),
        (["photos", "--preset", "papers"], "paper"),
        (["photos", "--engine", "fast"], "fused"),
        (["photos", "--engine", "fused", "--sigma", "1"], "--engine fused: the fused engine cannot take"),
        (["photos", "--config", "no.toml"], "no.toml: No such file"),
        (["photos", "-o", "photos/cat.png"], "photos/cat.png: is a file"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_is_wrong(arguments: list[str], message: str) -> None:
    Path("empty").mkdir()
    result = run("segment", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert not Path("iem-run").exists()


def test_a_gpu_that_cannot_be_had_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_no_cupy(monkeypatch)
    result = run("segment", *PAPER, "photos", "--device", "gpu")
    assert result.exit_code == 2
    assert "--device gpu: CuPy is not installed, and there is no NVIDIA driver" in result.stderr
    assert "pip install 'cupy-cuda12x[ctk]'" in result.stderr
    assert not Path("iem-run").exists()


def test_a_gpu_beyond_the_last_is_an_error_that_counts_them(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cupy(monkeypatch, count=2)
    result = run("segment", *PAPER, "photos", "--device", "gpu:7")
    assert result.exit_code == 2
    assert "--device gpu:7: there is no gpu:7; CUDA lists 2 GPU(s), numbered from 0" in result.stderr
    assert not Path("iem-run").exists()


def test_a_gpu_that_fails_is_an_error_of_gpu_and_a_warning_of_auto(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cupy(monkeypatch, computing=ImportError("libcublas.so.12: cannot open shared object file"))
    cause = "gpu:0 (Imaginary 9000, compute capability 6.1) fails: CUDA's libcublas.so.12 is not found"
    result = run("segment", *PAPER, "photos", "--device", "gpu")
    assert result.exit_code == 2
    assert f"--device gpu: {cause}; install CUDA's libraries with: pip install" in result.stderr
    result = run("segment", *PAPER, "photos", "--iterations", "1", "--size", "16")
    assert result.exit_code == 0
    warning, device, *_ = result.stderr.splitlines()
    assert warning.startswith(f"warning: the CPU computes instead of a GPU: {cause}; install")
    assert device == f"device: cpu (no GPU: {cause})"


def test_without_a_gpu_auto_takes_the_cpu_and_says_why() -> None:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = program("segment", *PAPER, "photos", "--iterations", "1", "--size", "16", env=environment)
    assert done.returncode == 0
    assert b"device: cpu (no GPU: " in done.stderr


@pytest.mark.parametrize("command", [["segment", "photos"], ["demo"]])
def test_an_output_that_cannot_be_made_is_an_error_without_a_traceback(command: list[str]) -> None:
    Path("file").touch()
    done = program(*command, "-o", "file/run", "--device", "cpu")
    assert done.returncode == 1
    assert b"Not a directory: 'file" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_full_disk_ends_in_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Run, "record_done", full)
        assert "disk is full; the same command continues" in segment("photos", status=1).stderr
    assert summary("photos")["done"] == 6


def test_names_beyond_unicode_do_no_harm_to_the_summary(here: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    Path("photos").rename(odd)
    for options in ([], ["--json"]):
        done = program("segment", *PAPER, odd, "-o", odd + "-run", *options, *QUICK)
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == odd + "-run"


def test_the_log_of_a_job_gets_a_line_of_progress_every_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iem_xp_cli.session.MINUTE", 0.0)
    said = segment("photos", "--choose", "image").stderr
    assert re.search(r"^segmenting: 6 of 6 images, [0-9.]+ images/s$", said, re.MULTILINE)


# ---- Interruption


STUCK = """
import itertools, signal, time
from pathlib import Path
from iem_xp.runs import finding
from iem_xp_cli.main import cli

def read(path, number=itertools.count().__next__, read=finding.read_stamped):
    if number() >= 12:
        while not Path("again").exists():
            time.sleep(0.01)
        time.sleep(0.2)
    return read(path)

finding.read_stamped = read
# Programs that are started in the background of a shell, as these tests may be, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
cli()
"""
"""The command, on a disk that gives twelve images, and no more until `again` is there: then slowly."""


def start(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", STUCK, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(12000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to be")


def waiting(folder: str) -> bool:
    try:
        return query("SELECT COUNT(*) FROM entries", folder)[0][0] >= 2
    except sqlite3.Error:  # not made yet
        return False


@pytest.fixture(params=[("--workers", "1", "--batch-size", "1"), ("--workers", "3", "--batch-size", "6")])
def many(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """A command of 24 images, one or a few at a time."""
    for copy in range(4):
        shutil.copytree("photos", f"many/{copy}")
    return ("segment", *PAPER, "many", *QUICK, "--engine", "array", *request.param)


@pytest.mark.parametrize(
    ("number", "status", "said"),
    [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")],
    ids=["SIGINT", "SIGTERM"],
)
def test_ctrl_c_leaves_a_run_that_ends_as_if_nothing_had_been(
    many: tuple[str, ...], number: signal.Signals, status: int, said: bytes
) -> None:
    process = start(*many)
    wait_for(lambda: waiting("iem-run"))
    process.send_signal(number)
    Path("again").touch()
    output, message = process.communicate(timeout=60)
    assert process.returncode == status, message
    assert output == b""
    assert re.search(said + rb": \d+ of 24 images are segmented; the same command continues", message)
    assert b"Traceback" not in message
    assert not masks()

    continued = run(*many)
    assert continued.exit_code == 0
    assert re.search(r"^24 done \(\d+ of them segmented before\), 0 failed, 0 done before", continued.stdout)
    assert run(*many, "-o", "whole").exit_code == 0
    assert len(masks()) == 24
    assert masks() == masks("whole")
    assert query(ROWS) == query(ROWS, "whole")


def test_a_killed_process_leaves_a_run_that_ends_as_if_nothing_had_been(many: tuple[str, ...]) -> None:
    process = start(*many)
    wait_for(lambda: waiting("iem-run"))
    process.kill()
    process.communicate(timeout=60)
    resumed = run(*many, "--json")
    assert json.loads(resumed.stdout)["done"] == 24
    assert run(*many, "-o", "whole").exit_code == 0
    assert masks() == masks("whole")
    assert query(ROWS) == query(ROWS, "whole")


def test_changed_images_are_refused_or_segmented_anew() -> None:
    segment("photos")
    before = masks()
    cat, coffee = Path("photos/cat.png"), Path("photos/coffee.png")
    coffee.write_bytes(cat.read_bytes())
    refused = segment("photos", status=2)
    assert "1 image(s) changed since they were segmented: " in refused.stderr
    assert "photos/coffee.png; --redo-changed segments them anew" in refused.stderr
    assert masks() == before
    found = summary("photos", "--redo-changed")
    assert (found["done"], found["skipped"]) == (1, 5)
    segment("photos", "-o", "whole")
    assert masks() == masks("whole") != before
    assert query(ROWS) == query(ROWS, "whole")


def test_two_processes_do_not_work_on_one_run(many: tuple[str, ...]) -> None:
    process = start(*many)
    wait_for(lambda: waiting("iem-run"))
    second = run(*many)
    assert second.exit_code == 2
    assert f"another process works on this run (process {process.pid} on " in second.stderr
    Path("again").touch()
    assert process.wait(timeout=120) == 0
    process.communicate()
    assert len(masks()) == 24


def test_ctrl_c_at_any_other_time_exits_130_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("iem_xp_cli.inputs.find_images", interrupt)
    result = run("segment", *PAPER, "photos")
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


# ---- The other commands


def test_without_numba_info_says_so_and_images_are_segmented(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert json.loads(run("info", "--json").stdout)["engines"] == ["array"]
    assert re.search(r"engines +array \(the fused engine needs Numba, which cannot", run("info").stdout)
    monkeypatch.setattr(Automatic, "COMPILING", 0)
    assert summary("photos")["engine"] == "array"
    result = run("segment", *PAPER, "photos", "--engine", "fused")
    assert result.exit_code == 2
    assert "--engine fused: the fused engine needs Numba" in result.stderr


def test_the_demo_shows_where_its_report_is(here: Path) -> None:
    first = run("demo", "-o", "show", "--device", "cpu")
    assert first.exit_code == 0
    assert "6 photographs in" in first.stdout
    page = here / "show" / "run" / "report" / "index.html"
    assert f"look at: {page}\n" in first.stdout
    text = page.read_text()
    assert all(f"{name}.jpg" in text for name in NAMES)
    assert text.count("data:image/webp;base64,") == 6
    assert set(masks("show/run")) == {f"{name}.png" for name in NAMES}
    assert (here / "show" / "photographs" / "CREDITS.md").is_file()

    again = run("demo", "-o", "show", "--device", "cpu")
    assert again.exit_code == 0
    assert "6 done before" in again.stdout
    assert page.read_text() == text

    (page.parent / "mine.txt").touch()
    refused = run("demo", "-o", "show", "--device", "cpu")
    assert refused.exit_code == 2
    assert "holds mine.txt, which is no part of a report" in refused.stderr


def test_a_demo_on_a_gpu_that_cannot_be_had_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_no_cupy(monkeypatch)
    assert run("demo", "-o", "show", "--device", "gpu").exit_code == 2
    assert not Path("show").exists()


def test_the_demo_touches_nothing_of_the_user_s() -> None:
    assert "photos, which is no part of a demo" in run("demo", "-o", ".").stderr
    assert [path.name for path in Path().iterdir()] == ["photos"]


def test_every_command_explains_itself() -> None:
    overview = run("--help")
    assert overview.exit_code == 0
    for name, text in COMMANDS.items():
        assert f"{name} {text}" in " ".join(overview.stdout.split())
        explained = run(name, "--help")
        assert explained.exit_code == 0
        assert text in " ".join(explained.stdout.split())


def test_help_and_version_load_nothing_heavy() -> None:
    for option in ("--help", "--version"):
        code = (
            f"import sys; from iem_xp_cli.main import cli; cli(['{option}'], standalone_mode=False); "
            "print(sorted({'numpy', 'imageio', 'PIL', 'cupy'} & set(sys.modules)), file=sys.stderr)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stderr.strip() == "[]"


def test_an_unknown_command_exits_2() -> None:
    result = run("segmnt")
    assert result.exit_code == 2
    assert "segmnt" in result.stderr
