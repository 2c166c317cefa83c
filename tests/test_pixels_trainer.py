import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

from exported import write_labels
from iem_xp_pixels import trainer

OPTIONS = {"epochs": 3, "pixels": 60, "width": 8}


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    write_labels(folder, 12, 24)
    return folder


@pytest.fixture(scope="module")
def trained(labels, tmp_path_factory):
    """A folder that a whole training wrote, and its history."""
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    folder = tmp_path_factory.mktemp("model")
    return folder, trainer.fit(labels, folder, OPTIONS, lambda *_: None)


@pytest.fixture
def model(trained, tmp_path):
    """A copy of that folder, to spoil."""
    return shutil.copytree(trained[0], tmp_path / "model")


def never(*_):
    raise AssertionError


def test_a_network_that_is_loaded_finds_the_masks(trained, labels):
    images, masks = (np.load(labels / f"{name}.npy") for name in ("images", "masks"))
    probabilities = trainer.load(trained[0]).predict(images)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, masks.shape)
    assert np.mean((probabilities > 0.5) == masks) > 0.85  # three quarters are background


def test_there_are_a_network_and_a_record_and_nothing_else(trained):
    assert {path.name for path in trained[0].iterdir()} == {"pixels.npz", "training.json"}


def test_a_finished_training_is_not_done_again(trained, labels):
    folder, history = trained
    assert len(history) == 2 * 3
    before = (folder / "pixels.npz").read_bytes()
    assert trainer.fit(labels, folder, OPTIONS, never) == history
    assert (folder / "pixels.npz").read_bytes() == before


@pytest.mark.parametrize("missing", ["pixels.npz", "training.json"])
def test_a_training_that_did_not_come_to_its_end_is_done_again(trained, labels, model, missing):
    (model / missing).unlink()
    assert trainer.fit(labels, model, OPTIONS, lambda *_: None) == trained[1]
    one, other = (trainer.load(folder).network for folder in (trained[0], model))
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(other.arrays()[name], array)


def test_another_training_in_the_folder_is_an_error_that_says_what_differs(model, labels, tmp_path):
    with pytest.raises(ValueError, match="has other options; give another folder"):
        trainer.fit(labels, model, {**OPTIONS, "seed": 1}, never)
    write_labels(tmp_path / "other", 12, 24, seed=1)
    with pytest.raises(ValueError, match="has other labels; give another folder"):
        trainer.fit(tmp_path / "other", model, OPTIONS, never)
    (model / "training.json").write_text("[")
    with pytest.raises(ValueError, match=r"training\.json: cannot be read"):
        trainer.fit(labels, model, OPTIONS, never)


def test_an_interruption_leaves_nothing_behind(labels, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")

    def interrupt(done, total, figures):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer.fit(labels, tmp_path / "model", OPTIONS, interrupt)
    assert not (tmp_path / "model").exists()


def test_an_unknown_option_is_an_error_before_anything_is_read(tmp_path):
    with pytest.raises(ValueError, match="no option epoch"):
        trainer.fit(tmp_path / "labels", tmp_path / "model", {"epoch": 3}, never)
    with pytest.raises(ValueError, match="no option epoch"):
        trainer.check({"epoch": 3})


def test_labels_that_are_not_complete_are_an_error(labels, tmp_path):
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    folder = shutil.copytree(labels, tmp_path / "labels")
    (folder / "meta.json").unlink()
    with pytest.raises(ValueError, match=r"has no meta\.json"):
        trainer.fit(folder, tmp_path / "model", OPTIONS, never)


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pixels\.npz: is not there; train it first"):
        trainer.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no more", b"\x80\x04N."])
def test_a_file_that_is_no_network_is_an_error(tmp_path, content):
    (tmp_path / "pixels.npz").write_bytes(content)
    with pytest.raises(ValueError, match="is no network of pixels"):
        trainer.load(tmp_path)


class Code:
    def __reduce__(self):
        return exec, ("raise SystemExit('ran')",)


def test_a_model_file_that_would_run_code_of_its_own_is_not_loaded(model):
    arrays = dict(np.load(model / "pixels.npz"))
    np.savez(model / "pixels.npz", **{**arrays, "mean": np.array([Code()])})
    with pytest.raises(ValueError, match="is no network of pixels"):
        trainer.load(model)


def test_a_network_is_used_without_scikit_learn_but_not_trained(trained, labels):
    code = """
import sys
from pathlib import Path
sys.modules["sklearn"] = None
import numpy as np
from iem_xp_pixels import trainer
print(trainer.load(Path(sys.argv[1])).predict(np.zeros((1, 24, 24, 3), np.uint8)).shape)
trainer.check({})
"""
    done = subprocess.run(
        [sys.executable, "-c", code, trained[0]], capture_output=True, text=True, check=False
    )
    assert done.stdout == "(1, 24, 24)\n"
    assert "pip install 'iem-xp[pixels]'" in done.stderr.strip().splitlines()[-1]


def test_the_refinement_that_suits_it_can_be_written_down():
    assert json.loads(json.dumps(trainer.REFINEMENT)) == {"rounds": 2, "then_iem": True}
