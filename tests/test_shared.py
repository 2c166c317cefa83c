"""The published quality, on photographs that may not be distributed: the whole way from files to figures."""

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner

from iem_xp.images import fit_truth
from iem_xp.metrics import iou
from iem_xp_cli.main import cli

FOLDER = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "flowers17"

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
