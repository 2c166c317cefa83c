"""The published quality, on photographs that may not be distributed: the whole way from files to figures."""

import json
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner

from iem_xp.images import fit_truth
from iem_xp.metrics import iou
from iem_xp_cli.main import cli

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
FOLDER = DATA / "flowers17"

pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FOLDER.exists(), reason="the development photographs are not beside the checkout"),
]


def test_the_papers_protocol_reaches_its_quality_on_flowers(tmp_path):
    run = tmp_path / "run"
    arguments = [FOLDER / "images", "-o", run, "--preset", "paper", "--choose", "image", "--device", "cpu"]
    result = CliRunner().invoke(cli, ["segment", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    truths = sorted(FOLDER.glob("masks/*.png"))
    assert len(truths) == 446
    masks = np.stack([iio.imread(run / "masks" / file.name) == 255 for file in truths])
    truth = np.stack([fit_truth(iio.imread(file), 128, "crop") for file in truths])
    options = {"masks": masks, "truth": truth == 255, "ignore": truth == 128}
    assert float(iou(**options, polarity="either").mean()) == pytest.approx(0.842, abs=0.003)
    assert float(iou(**options, polarity="fixed").mean()) == pytest.approx(0.837, abs=0.003)


def test_the_papers_table_reaches_its_figures_on_cars(tmp_path):
    arguments = ["reproduce", "folder", "--root", DATA / "cars", "-o", tmp_path / "runs", "--json"]
    result = CliRunner().invoke(cli, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["n"], report["failed"], report["init_side"]) == (134, [], 92)
    expected = {
        ("IEM", 44): (0.523, 0.507, 0.003),
        ("IEM", 78): (0.545, 0.538, 0.003),
        ("IEM", 92): (0.531, 0.526, 0.003),
        ("IEM", "image"): (0.512, 0.505, 0.003),
        ("GrabCut", 78): (0.422, 0.147, 0.010),
        ("GrabCut", 92): (0.471, 0.256, 0.010),
        ("GrabCut", 112): (0.512, 0.349, 0.010),
    }
    found = {(line["method"], line["square"] or line["choice"]): line for line in report["results"]}
    for method, (either, fixed, tolerance) in expected.items():
        assert found[method]["either"]["iou"] == pytest.approx(either, abs=tolerance)
        assert found[method]["fixed"]["iou"] == pytest.approx(fixed, abs=tolerance)
