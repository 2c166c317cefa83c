from __future__ import annotations

import json
import shutil
from importlib import resources
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

import colours
from commands import run
from folders import PAPER
from iem_xp import inpainting_error, refinement
from iem_xp.config import IEMConfig
from iem_xp.files import remove
from iem_xp.images import fit_image, read_image, restore_mask
from iem_xp.models import open_model, read_facts
from iem_xp.runs.store import Run
from iem_xp_cli import refining
from iem_xp_cli.main import INTERRUPTED

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cat", "cell", "coffee", "flower")
TRAINED = ("--trainer", "colours", "--device", "cpu", "--workers", "2")
MODEL = Path("iem-run/models/colours")
REFINED = Path("iem-run/refined")


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> colours.Trainer:
    return colours.install(monkeypatch)


@pytest.fixture(autouse=True)
def run_folder(here: Path) -> Path:
    """The current folder, with four photographs and their run, by default settings at 32 pixels."""
    for name in NAMES:
        put(name)
    segment()
    return here / "iem-run"


def put(name: str, width: int = 48, height: int = 40) -> None:
    path = Path("photos", "science" if name == "cell" else "", f"{name}.png")
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((width, height)).save(path)


def segment(*arguments: str, status: int = 0) -> Result:
    options = ("--iterations", "6", "--size", "32", "--device", "cpu", "--choose", "image")
    return run("segment", *PAPER, "photos", *options, *arguments, status=status)


def refine(*arguments: str, status: int = 0) -> Result:
    return run("refine", *arguments, *TRAINED, status=status)


def summary(*arguments: str, status: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(refine(*arguments, "--json", status=status).stdout)
    return found


def files(folder: str | Path = "iem-run") -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def masks(folder: Path = REFINED) -> dict[str, bytes]:
    root = folder / "masks"
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*.png")}


def meta(folder: Path | str, key: str) -> Any:
    with Run.open(Path(folder), to_write=False) as opened:
        return opened.get_meta(key)


def labels(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "labels" / "meta.json").read_text())
    return found


# ---- What comes out


def test_every_image_gets_the_mask_of_a_network_trained_on_the_best(trainer: colours.Trainer) -> None:
    before = masks(Path("iem-run"))
    found = summary("--top", "2")
    assert masks(Path("iem-run")) == before
    assert set(masks()) == {"cat.png", "coffee.png", "flower.png", "science/cell.png"}
    assert labels(MODEL)["count"] == 2
    assert {name: found[name] for name in ("labels", "predicted", "skipped", "failed")} == {
        "labels": 2,
        "predicted": 4,
        "skipped": 0,
        "failed": 0,
    }
    assert (found["run"], found["model"]) == (str(REFINED), str(MODEL))
    assert (found["epochs"], found["figures"]) == (2, {"loss": 0.5})
    assert set(found["seconds"]) == {"labels", "training", "prediction"}
    model, _ = open_model(MODEL)
    for name, written in masks().items():
        image = fit_image(read_image(Path("photos", name)).pixels, 32, "squash")
        mask = model.predict(image[None])[0] > 0.5
        np.testing.assert_array_equal(iio.imread(written) > 0, restore_mask(mask, 40, 48))


def test_the_refined_run_has_inpainting_errors_that_rank_it(trainer: colours.Trainer) -> None:
    refine()
    model, _ = open_model(MODEL)
    with Run.open(REFINED, to_write=False) as refined:
        ranked = list(refined.ranked())
    assert len(ranked) == 4
    for entry in ranked:
        image = fit_image(read_image(entry.source.path).pixels, 32, "squash")[None]
        (error,) = inpainting_error(image, model.predict(image) > 0.5, IEMConfig(iterations=6))
        assert entry.inpainting_error == pytest.approx(float(error), rel=1e-4)
        assert entry.init_side == 0


def test_masks_of_a_network_are_ranked_as_those_that_it_learned_from(trainer: colours.Trainer) -> None:
    segment("--preset", "best", "--choose", "information", "--overwrite")
    refine("--rounds", "2", "--top", "2")
    before = Path("iem-run/rounds/1/refined")
    with Run.open(before, to_write=False) as refined:
        ranked = list(refined.ranked())
    information = [entry.information for entry in ranked]
    assert information == sorted(information, reverse=True)
    assert 0 < information[-1] < information[0] <= 1
    table = (MODEL / "labels" / "labels.csv").read_text().splitlines()[1:]
    assert [line.split(",")[1] for line in table] == [entry.source.mask for entry in ranked[:2]]


def test_a_run_of_crops_is_refined_as_crops(trainer: colours.Trainer) -> None:
    segment("--fit", "crop", "--overwrite")
    refine()
    assert read_facts(MODEL)["fit"] == "crop"
    assert {iio.imread(mask).shape for mask in masks().values()} == {(32, 32)}


def test_the_refined_run_can_be_evaluated(trainer: colours.Trainer) -> None:
    refine()
    report = json.loads(run("evaluate", str(REFINED), str(REFINED / "masks"), "--json").stdout)
    assert (report["n"], report["missing"], report["extra"]) == (4, [], [])
    assert report["fixed"]["iou"] == 1


def test_probabilities_are_written_if_wanted(trainer: colours.Trainer) -> None:
    refine("--probabilities")
    model, _ = open_model(MODEL)
    image = read_image("photos/cat.png").pixels
    grey = iio.imread(REFINED / "probabilities" / "cat.png")
    assert (grey.shape, grey.dtype) == ((40, 48), np.uint8)
    expected = Image.fromarray(
        np.rint(255 * model.predict(fit_image(image, 32, "squash")[None])[0]).astype(np.uint8)
    )
    np.testing.assert_array_equal(grey, np.asarray(expected.resize((48, 40), Image.Resampling.BICUBIC)))


def test_the_search_may_go_on_from_the_predicted_masks(trainer: colours.Trainer) -> None:
    refine()
    plain = masks()
    refine("--then-iem", "--overwrite")
    assert masks() != plain
    with Run.open(REFINED, to_write=False) as refined:
        assert "then IEM" in refined.get_meta("configuration")["method"]


def test_only_the_options_that_are_given_go_to_the_trainer(trainer: colours.Trainer) -> None:
    refine("--epochs", "3", "-O", "hue=[1, 2]")
    assert trainer.fits[-1][1] == {"epochs": 3, "hue": [1, 2]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("--schedule quick", {"schedule": "quick"}),
        ("--batch-size 4 --learning-rate 0.01", {"batch_size": 4, "learning_rate": 0.01}),
        ("--width 4 --seed 1 --validation 0.1", {"width": 4, "seed": 1, "validation": 0.1}),
        ("--mixed-precision --flips", {"mixed_precision": True, "flips": True}),
        ("--no-flips -O a-b=x=y", {"flips": False, "a_b": "x=y"}),
    ],
)
def test_options_have_the_names_that_trainers_know(
    trainer: colours.Trainer, given: str, expected: dict[str, Any]
) -> None:
    assert "there is no option" in refine(*given.split(), status=2).stderr
    assert trainer.fits[-1][1] == expected


@pytest.mark.parametrize(
    ("given", "cause"), [("depth", "NAME=VALUE"), ("=3", "NAME=VALUE"), ("epochs=3", "twice")]
)
def test_an_option_of_the_wrong_form_is_refused(trainer: colours.Trainer, given: str, cause: str) -> None:
    assert cause in refine("--epochs", "2", "-O", given, status=2).stderr


def test_curation_is_that_of_the_labels(trainer: colours.Trainer) -> None:
    refine("--largest-component", "--max-share", "0.9")
    curation = labels(MODEL)["curation"]
    assert (curation["largest_component"], curation["fill_holes"], curation["max_share"]) == (
        True,
        False,
        0.9,
    )
    assert "min-share" in refine("--min-share", "0.5", "--max-share", "0.4", status=2).stderr


def test_more_labels_than_there_are_takes_all_and_says_so(trainer: colours.Trainer) -> None:
    assert "4 labels, which are all that there are (--top 8000)" in refine().stderr
    assert labels(MODEL)["count"] == 4


def test_the_summary_says_what_was_done_and_where(trainer: colours.Trainer) -> None:
    lines = refine().stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "labels",
        "training",
        "prediction",
        "network",
        "masks",
    ]
    assert "2 epochs" in lines[1]
    assert "loss 0.5" in lines[1]
    assert lines[2].startswith("prediction: 4 images")
    assert lines[4] == f"masks: {REFINED / 'masks'}"


def test_the_run_keeps_what_was_done(trainer: colours.Trainer) -> None:
    refine("--top", "3", "--epochs", "4")
    kept = meta("iem-run", "refinement")
    assert kept["configuration"]["top"] == 3
    assert kept["configuration"]["options"] == {"epochs": 4}
    (only,) = kept["rounds"]
    assert (only["labels"], only["epochs"], only["network"]) == (3, 4, read_facts(MODEL)["id"])


def test_the_trainer_has_the_defaults_of_its_refinement_and_options_win(
    trainer: colours.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def chosen(*arguments: str) -> tuple[int, bool]:
        refine("--overwrite", *arguments)
        kept = meta("iem-run", "refinement")["configuration"]
        assert ("then IEM" in meta(REFINED, "configuration")["method"]) == kept["then_iem"]
        assert len(meta("iem-run", "refinement")["rounds"]) == kept["rounds"]
        return kept["rounds"], kept["then_iem"]

    assert chosen() == (1, False)
    assert chosen("--rounds", "2") == (2, False)
    monkeypatch.setattr(trainer, "REFINEMENT", {"rounds": 2, "then_iem": True}, raising=False)
    assert chosen() == (2, True)
    assert chosen("--rounds", "1") == (1, True)
    assert chosen("--no-then-iem") == (2, False)
    assert trainer.REFINEMENT == {"rounds": 2, "then_iem": True}


@pytest.mark.parametrize("defaults", [{"epochs": 3}, ("rounds",), {"rounds": 0}, {"then_iem": "no"}])
def test_defaults_of_a_trainer_that_are_none_of_a_refinement_are_an_error(
    trainer: colours.Trainer, monkeypatch: pytest.MonkeyPatch, defaults: Any
) -> None:
    before = files()
    monkeypatch.setattr(trainer, "REFINEMENT", defaults, raising=False)
    message = refine("--overwrite", status=2).stderr
    assert "trainer colours" in message
    assert "no keys but rounds" in message
    assert files() == before


# ---- Rounds


def test_labels_of_a_later_round_are_the_best_of_the_round_before(trainer: colours.Trainer) -> None:
    found = summary("--top", "2", "--rounds", "3")
    first, second = Path("iem-run/rounds/1"), Path("iem-run/rounds/2")
    for earlier, model in ((first, second / "models/colours"), (second, MODEL)):
        assert labels(model)["run"] == str(Path(earlier / "refined").absolute())
        with Run.open(earlier / "refined", to_write=False) as refined:
            best = [entry.source.mask for entry in refined.ranked()][:2]
        table = (model / "labels" / "labels.csv").read_text().splitlines()[1:]
        assert [line.split(",")[1] for line in table] == best
    assert labels(first / "models/colours")["run"] == str(Path("iem-run").absolute())
    assert len({read_facts(path)["id"] for path in Path("iem-run").rglob("models/colours")}) == 3
    assert [entry["labels"] for entry in found["rounds"]] == [2, 2, 2]
    assert len(masks()) == 4


def test_rounds_go_on_where_they_stopped(trainer: colours.Trainer) -> None:
    refine("--rounds", "2")
    kept = files()
    put("tissue")
    segment()
    assert summary("--rounds", "2")["predicted"] == 1
    assert len(trainer.fits) == 2
    assert set(masks(Path("iem-run/rounds/1/refined"))) < set(masks())
    assert {path: data for path, data in files().items() if path in kept and "/models/" in path} == {
        path: data for path, data in kept.items() if "/models/" in path
    }


# ---- Again


def test_the_same_command_again_has_nothing_to_do(trainer: colours.Trainer) -> None:
    refine()
    before = masks()
    found = summary()
    assert (found["predicted"], found["skipped"], len(trainer.fits)) == (0, 4, 1)
    assert masks() == before
    assert refine().stdout.startswith("nothing was left to do; it took, before:\nlabels: 4, in ")


def test_images_that_come_later_are_predicted_by_the_same_command(trainer: colours.Trainer) -> None:
    refine("--top", "2")
    before = masks()
    put("tissue")
    segment()
    found = summary("--top", "2")
    assert (found["predicted"], found["skipped"], len(trainer.fits)) == (1, 4, 1)
    assert {name: masks()[name] for name in before} == before
    assert set(masks()) - set(before) == {"tissue.png"}


def test_an_interrupted_training_is_continued(trainer: colours.Trainer) -> None:
    trainer.interrupt_at = 2
    stopped = refine("--epochs", "3", status=INTERRUPTED)
    assert "training: 2 of 3 steps are done; the same command continues" in stopped.stderr
    made = (MODEL / "labels" / "meta.json").stat().st_mtime_ns
    trainer.interrupt_at = None
    assert summary("--epochs", "3")["epochs"] == 3
    assert (MODEL / "labels" / "meta.json").stat().st_mtime_ns == made
    assert len(masks()) == 4


def test_after_an_overwriting_command_the_one_without_continues(trainer: colours.Trainer) -> None:
    refine()
    trainer.interrupt_at = 1
    stopped = refine("--overwrite", status=INTERRUPTED)
    assert "the same command without --overwrite continues" in stopped.stderr


def test_an_interrupted_prediction_is_continued(
    trainer: colours.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> dict[str, Any]:
        raise KeyboardInterrupt("1 of 4 images are segmented; the same command continues")

    with monkeypatch.context() as patch:
        patch.setattr(refining, "segment_folder", interrupted)
        stopped = refine(status=INTERRUPTED)
    assert stopped.stderr.count("the same command continues") == 1
    assert "prediction: 1 of 4 images are segmented; the same" in stopped.stderr
    assert summary()["predicted"] == 4
    assert len(trainer.fits) == 1


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ("--top 3", "top: 8000 there, 3 now"),
        ("--fill-holes", "curation.fill_holes: false there, true now"),
        ("--epochs 9", "options.epochs: null there, 9 now"),
        ("--rounds 2", "rounds: 1 there, 2 now"),
        ("--then-iem", "then_iem: false there, true now"),
        ("--probabilities", "probabilities: false there, true now"),
    ],
)
def test_another_configuration_is_an_error_that_names_it(
    trainer: colours.Trainer, other: str, named: str
) -> None:
    refine()
    before = files()
    refused = refine(*other.split(), status=2)
    assert named in refused.stderr
    assert "--overwrite" in refused.stderr
    assert files() == before


def test_other_images_listed_are_another_configuration(trainer: colours.Trainer) -> None:
    good, bad = Path("good.txt"), Path("bad.txt")
    good.write_text("photos/cat.png\n# and\nphotos/coffee.png\n")
    bad.write_text("photos/flower.png\n")
    refine("--only", "good.txt")
    table = (MODEL / "labels" / "labels.csv").read_text()
    assert ("cat" in table, "coffee" in table, "flower" in table) == (True, True, False)
    assert len(masks()) == 4
    good.write_text("photos/coffee.png\nphotos/cat.png\n")
    refine("--only", "good.txt")  # the same images
    for other in ([], ["--only", "bad.txt"], ["--only", "good.txt", "--except", "bad.txt"]):
        assert "was refined with another configuration\n  curation." in refine(*other, status=2).stderr
    before = files()
    bad.write_text("photos/flower.jpg\n")
    assert "none of the 1 path(s) has a mask" in refine("--only", "bad.txt", "--overwrite", status=2).stderr
    assert files() == before


@pytest.mark.parametrize(
    ("mended", "name", "value"),
    [("--top 3", "count", 3), ("--max-share 0.9", "curation", {"max_share": 0.9})],
)
def test_an_option_that_was_refused_may_be_mended_and_labels_chosen_anew(
    trainer: colours.Trainer, mended: str, name: str, value: Any
) -> None:
    assert "trainer colours: there is no option 'depth'" in refine("-O", "depth=3", status=2).stderr
    before = labels(MODEL)[name]
    refine(*mended.split())
    assert labels(MODEL)[name] == (before | value if isinstance(value, dict) else value) != before


def test_labels_for_a_network_that_was_refused_are_those_of_no_later_round(trainer: colours.Trainer) -> None:
    refine("-O", "depth=3", status=2)
    assert labels(MODEL)["run"] == str(Path("iem-run").absolute())
    found = summary("--rounds", "2")
    assert [entry["epochs"] for entry in found["rounds"]] == [2, 2]
    assert labels(MODEL)["run"] == str(Path("iem-run/rounds/1/refined").absolute())


def test_an_overwriting_command_cut_short_leaves_no_network_that_is_taken_for_done(
    trainer: colours.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refine("--rounds", "2")

    def cut_short(path: Path) -> None:
        if path.name == "refined":
            (path / "masks" / "cat.png").unlink()
            raise KeyboardInterrupt
        remove(path)

    with monkeypatch.context() as patch:
        patch.setattr(refinement, "remove", cut_short)
        refine("--rounds", "2", "--overwrite", status=INTERRUPTED)
    assert "method: " in refine("--rounds", "2", status=2).stderr
    refine("--rounds", "2", "--overwrite")
    assert len(masks()) == 4


def test_overwrite_removes_the_refinement_alone(trainer: colours.Trainer) -> None:
    refine("--rounds", "2")
    before = masks(Path("iem-run"))
    for name in ("iem-run/models/other/net", "iem-run/notes.txt"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    refine("--overwrite", "--top", "2")
    assert masks(Path("iem-run")) == before
    assert not Path("iem-run/rounds").exists()
    assert Path("iem-run/models/other/net").exists()
    assert Path("iem-run/notes.txt").exists()
    assert labels(MODEL)["count"] == 2
    assert len(meta("iem-run", "refinement")["rounds"]) == 1


def test_options_that_the_trainer_refuses_are_an_error_before_anything_is_deleted(
    trainer: colours.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(options: dict[str, Any]) -> None:
        if options:
            raise ValueError(f"there is no option {next(iter(options))!r}")

    refine()
    before = files()
    monkeypatch.setattr(trainer, "check", check, raising=False)
    assert "there is no option 'depht'" in refine("--overwrite", "-O", "depht=3", status=2).stderr
    assert files() == before


def test_a_run_is_cleared_with_its_refinement(trainer: colours.Trainer) -> None:
    refine("--rounds", "2", "--probabilities")
    Run.clear(Path("iem-run"))
    assert [path.name for path in Path("iem-run").iterdir()] == ["run.lock"]


# ---- What is not there


def test_a_trainer_that_is_not_there_is_an_error_before_anything_else(trainer: colours.Trainer) -> None:
    before = files()
    result = run("refine", "no-run", "--trainer", "keras", status=2)
    assert "pip install 'iem-xp[keras]'" in result.stderr
    run("refine", "--trainer", "keras", status=2)
    assert files() == before


def test_images_that_segment_failed_on_are_mentioned(trainer: colours.Trainer) -> None:
    assert "failed in segment" not in refine().stderr
    Path("photos/broken.jpg").write_bytes(b"no image")
    segment(status=1)
    assert "1 image(s) of iem-run failed in segment, and have no mask here either\n" in refine().stderr


def test_a_folder_that_is_no_run_is_an_error(trainer: colours.Trainer) -> None:
    assert "not a run" in refine("photos", status=2).stderr


def test_a_run_without_a_mask_is_an_error(trainer: colours.Trainer) -> None:
    with Run.create(Path("empty"), {}):
        pass
    assert "iem-xp segment" in refine("empty", status=2).stderr


def test_images_that_have_gone_are_failures_with_their_cause(trainer: colours.Trainer) -> None:
    Path("photos/cat.png").unlink()
    found = refine("--json", status=1)
    assert "failed: " in found.stderr
    assert "cat.png: No such file" in found.stderr
    report = json.loads(found.stdout)
    assert (report["predicted"], report["failed"], report["labels"]) == (3, 1, 3)
    put("cat")
    assert summary()["predicted"] == 1


def test_masks_of_another_network_are_not_mixed_with_those_there(trainer: colours.Trainer) -> None:
    refine()
    before = masks()
    shutil.rmtree(MODEL)
    refused = refine(status=2)
    assert "method: " in refused.stderr
    assert "--overwrite" in refused.stderr
    assert masks() == before


def test_the_trainer_of_before_goes_on_where_none_is_named(
    trainer: colours.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    refine()
    monkeypatch.setattr("iem_xp_cli.refine.default_trainer", lambda: "nosuch")
    again = run("refine", *(option for option in TRAINED if option not in ("--trainer", "colours")))
    assert "trainer: colours (as before)" in again.stderr
