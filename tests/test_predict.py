from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import colours
import scenes
from commands import run
from iem_xp import segment
from iem_xp.config import IEMConfig
from iem_xp.images import encode_mask, fit_image, read_image, restore_mask
from iem_xp.models import FILE, describe, open_model, train_model
from iem_xp.runs.settings import Settings
from iem_xp.runs.store import Run
from iem_xp_cli.main import cli

SAMPLES = resources.files("iem_xp_cli") / "samples"
NAMES = ("cat", "coffee", "flower")
CONFIG = IEMConfig(iterations=5)


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> colours.Trainer:
    return colours.install(monkeypatch)


@pytest.fixture(autouse=True)
def photos(here: Path, trainer: colours.Trainer, rng: np.random.Generator) -> Path:
    """The current folder, with three photographs and two networks for 32 x 32 pixels."""
    Path("photos").mkdir()
    for name in NAMES:
        Image.open(SAMPLES / f"{name}.jpg").convert("RGB").resize((48, 40)).save(f"photos/{name}.png")
    for name, fit in (("model", "squash"), ("other", "crop")):
        masks = np.stack([scenes.mask(rng, 32, 32) for _ in range(2)])
        colours.write_labels(Path(name, "labels"), np.where(masks[..., None], 180, 60).repeat(3, -1), masks)
        facts = describe("colours", Settings(CONFIG, 32).updated({"fit": fit}), {})
        train_model(Path(name), Path(name, "labels"), facts, lambda *_: None)
    return here


def predict(*arguments: str, status: int = 0, data: bytes | None = None) -> Result:
    return run("predict", *arguments, "--device", "cpu", status=status, data=data)


def expected(name: str, then_iem: bool = False) -> np.ndarray:
    """Mask of a photograph by the first network, at its own size."""
    image = fit_image(read_image(f"photos/{name}.png").pixels, 32, "squash")
    mask = open_model(Path("model"))[0].predict(image[None]) > 0.5
    if then_iem:
        mask = segment(image, CONFIG, init=mask).masks
    return restore_mask(mask[0], 40, 48)


@pytest.mark.parametrize("options", [(), ("--then-iem",)])
def test_a_folder_becomes_a_run_made_by_the_network(options: tuple[str, ...]) -> None:
    found = json.loads(predict("model", "photos", "--json", *options).stdout)
    assert (found["run"], found["done"], found["failed"]) == ("iem-predictions", 3, 0)
    assert (found["model"], found["init_side"]) == ("model", 0)
    for name in NAMES:
        written = iio.imread(f"iem-predictions/masks/{name}.png")
        np.testing.assert_array_equal(written > 0, expected(name, then_iem=bool(options)))


def test_the_same_command_again_continues() -> None:
    assert "2 done, 0 failed, 0 done before" in predict("model", "photos", "--limit", "2").stdout
    assert "1 done, 0 failed, 2 done before" in predict("model", "photos").stdout


@pytest.mark.parametrize("other", [("other", "photos"), ("model", "photos", "--then-iem")])
def test_masks_made_otherwise_are_never_mixed(other: tuple[str, ...]) -> None:
    predict("model", "photos", "--limit", "1")
    refused = predict(*other, status=2).stderr
    assert "method: " in refused
    assert "use another -o to keep it, or --overwrite to replace it" in refused
    predict(*other, "--overwrite")
    predict(*other, "-o", "elsewhere")


def test_the_run_says_which_network_made_it() -> None:
    predict("model", "photos")
    number = json.loads(Path("model", FILE).read_text())["id"]
    with Run.open(Path("iem-predictions"), to_write=False) as run:
        assert run.get_meta("configuration")["method"] == f"colours network {number}"
        assert run.get_meta("engines") == ["colours"]


def test_probabilities_lie_beside_the_masks() -> None:
    predict("model", "photos", "--probabilities")
    for name in NAMES:
        grey = iio.imread(f"iem-predictions/probabilities/{name}.png")
        assert (grey.shape, grey.dtype) == ((40, 48), np.uint8)
    predict("model", "photos", "-o", "without")
    assert not Path("without/probabilities").exists()


def test_crops_stay_crops() -> None:
    assert "centre crops" in predict("other", "photos", "--probabilities").stdout
    for folder in ("masks", "probabilities"):
        assert iio.imread(f"iem-predictions/{folder}/cat.png").shape == (32, 32)


def test_a_run_of_predictions_can_be_evaluated() -> None:
    predict("model", "photos")
    for name in NAMES:
        path = Path("truth", f"{name}.png")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_mask(expected(name)))
    result = CliRunner().invoke(cli, ["evaluate", "iem-predictions", "truth", "--json"])
    assert json.loads(result.stdout)["fixed"]["iou"] == 1


def test_a_mask_that_is_empty_is_noted() -> None:
    for name in ("black", "dark"):
        Image.new("RGB", (48, 40)).save(f"photos/{name}.png")
    assert re.search(
        r"mask is empty: 2 image\(s\), the first \S*black\.png\n", predict("model", "photos").stderr
    )


@pytest.mark.parametrize("options", [(), ("--then-iem",)])
def test_standard_input_gives_its_mask_on_standard_output(options: tuple[str, ...]) -> None:
    result = predict("model", "-", *options, data=Path("photos/cat.png").read_bytes())
    mask = iio.imread(result.stdout_bytes)
    np.testing.assert_array_equal(mask > 0, expected("cat", then_iem=bool(options)))
    assert not Path("iem-predictions").exists()


@pytest.mark.parametrize(
    "more", [("photos",), ("-o", "x"), ("--probabilities",), ("--json",), ("--limit", "1")]
)
def test_standard_input_goes_alone(more: tuple[str, ...]) -> None:
    assert "- reads one image" in predict("model", "-", *more, status=2).stderr


def test_an_image_that_cannot_be_read_is_a_failure_with_its_cause() -> None:
    Path("photos/bad.png").write_bytes(b"no image")
    found = predict("model", "photos", "--json", status=1)
    assert "failed: " in found.stderr
    assert "bad.png: not an image" in found.stderr
    report: dict[str, Any] = json.loads(found.stdout)
    assert (report["done"], report["failed"]) == (3, 1)


@pytest.mark.parametrize(
    ("model", "cause"), [("photos", "no network is there"), ("nowhere", "no network is there")]
)
def test_a_folder_without_a_network_is_an_error(model: str, cause: str) -> None:
    assert cause in predict(model, "photos", status=2).stderr
    assert not Path("iem-predictions").exists()


def test_a_network_that_gives_no_probabilities_is_an_error(
    trainer: colours.Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(colours.Colours, "predict", lambda self, images: np.full(images.shape[:3], np.nan))
    assert "training may have diverged" in predict("model", "photos", status=2).stderr


def test_arguments_the_wrong_way_round_are_explained() -> None:
    assert (
        "the network comes first: iem-xp predict model photos" in predict("photos", "model", status=2).stderr
    )
