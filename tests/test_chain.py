"""Through the command line: segment, refine, evaluate, predict, with the trainer of this library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from iem_xp.images import encode_mask
from iem_xp_cli.main import cli

TINY = ("--width", "4", "--epochs", "2", "--batch-size", "3")


def summary(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def put_images(rng: np.random.Generator, count: int) -> None:
    """Write images of bright discs on dark ground, with their true masks."""
    for number in range(count):
        rows, columns = np.indices((40, 48))
        row, column = rng.uniform(15, 25, 2)
        truth = (rows - row) ** 2 + (columns - column) ** 2 < 10**2
        pixels = np.where(truth[..., None], (220, 180, 60), (40, 60, 90)) + rng.integers(-20, 20, (40, 48, 3))
        for folder in ("photos", "truth"):
            Path(folder).mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(f"photos/{number}.png")
        Path(f"truth/{number}.png").write_bytes(encode_mask(truth))


def test_images_become_masks_labels_a_network_and_masks_again(here: Path, rng: np.random.Generator) -> None:
    pytest.importorskip("iem_xp_keras.trainer", reason="Keras or its backend is not installed")
    put_images(rng, 6)
    segmented = summary("segment", "photos", "--size", "32", "--iterations", "20", "--device", "cpu")
    assert segmented["done"] == 6

    refined = summary("refine", "--top", "4", *TINY, "--probabilities", "--device", "cpu")
    assert (refined["labels"], refined["epochs"], refined["predicted"]) == (4, 2, 6)
    assert np.isfinite(refined["figures"]["loss"])
    assert summary("refine", "--top", "4", *TINY, "--probabilities", "--device", "cpu")["skipped"] == 6

    evaluated = summary("evaluate", refined["run"], "truth")
    assert (evaluated["n"], evaluated["missing"], evaluated["failed"]) == (6, [], [])

    predicted = summary("predict", refined["model"], "photos", "--probabilities", "--device", "cpu")
    assert predicted["done"] == 6
    for folder in ("masks", "probabilities"):
        for number in range(6):
            again, before = (
                iio.imread(Path(run, folder, f"{number}.png")) for run in (predicted["run"], refined["run"])
            )
            np.testing.assert_array_equal(again, before)
