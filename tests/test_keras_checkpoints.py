import json

import numpy as np
import pytest

from exported import write_labels
from iem_xp_keras.options import Options

checkpoints = pytest.importorskip("iem_xp_keras.checkpoints", reason="Keras or its backend is not installed")
exports = pytest.importorskip("iem_xp_keras.labels", reason="Keras or its backend is not installed")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "checkpoint"


@pytest.fixture
def labels(tmp_path):
    write_labels(tmp_path / "labels", 4, 8)
    return exports.open_labels(tmp_path / "labels")


@pytest.fixture
def begun(folder, labels):
    """A training of two epochs, the first of them the best."""
    begun = checkpoints.Checkpoints(folder, Options(augment=("scale",)), labels)
    for epoch in (1, 2):
        begun.save({"network/kernel": np.full(3, epoch)}, {"loss": 1 / epoch}, best=1)
    return begun


def test_a_training_that_has_not_begun_has_no_history(folder, labels):
    new = checkpoints.Checkpoints(folder, Options(), labels)
    assert (new.history, new.finished, folder.exists()) == ([], False, False)


def test_another_process_finds_what_was_saved(folder, labels, begun):
    found = checkpoints.Checkpoints(folder, Options(augment=("scale",)), labels)
    assert found.history == begun.history == [{"loss": 1.0}, {"loss": 0.5}]
    assert not found.finished
    for epoch in (1, 2):
        assert np.array_equal(found.load(epoch)["network/kernel"], np.full(3, epoch))


def test_only_the_last_epoch_and_the_best_are_kept(folder, begun):
    assert {path.name for path in folder.iterdir()} == {"epoch-1.npz", "epoch-2.npz", "state.json"}
    begun.save({}, {"loss": 0.2}, best=3)
    assert {path.name for path in folder.iterdir()} == {"epoch-3.npz", "state.json"}


def test_a_finished_training_keeps_its_history_only(folder, labels, begun):
    begun.finish()
    assert [path.name for path in folder.iterdir()] == ["state.json"]
    found = checkpoints.Checkpoints(folder, Options(augment=("scale",)), labels)
    assert found.finished
    assert found.history == begun.history


def test_arrays_without_their_state_count_for_nothing_and_are_cleared_away(folder, labels, begun):
    (folder / "epoch-3.npz").write_bytes(b"an interrupted session was here")
    (folder / ".0123.tmp.npz").write_bytes(b"and here")
    found = checkpoints.Checkpoints(folder, Options(augment=("scale",)), labels)
    assert len(found.history) == 2
    found.save({}, {"loss": 0.2}, best=0)
    assert {path.name for path in folder.iterdir()} == {"epoch-3.npz", "state.json"}
    assert found.load(3) == {}


def test_the_history_is_told_once_it_is_safe(folder, labels):
    told = []

    def written(history):
        state = json.loads((folder / "state.json").read_text())
        told.append((state["history"] == history, state["finished"], len(history)))

    new = checkpoints.Checkpoints(folder, Options(), labels, written)
    new.save({}, {"loss": 0.2}, best=0)
    new.save({}, {"loss": 0.1}, best=0)
    new.finish()
    assert told == [(True, False, 1), (True, False, 2), (True, True, 2)]


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_one(folder, labels, begun, monkeypatch):
    def no_space(*_, **__):
        raise OSError("no space left")

    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    monkeypatch.setattr(np, "savez", no_space)
    with pytest.raises(OSError, match="no space left"):
        begun.save({}, {"loss": 0.2}, best=0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert len(begun.history) == 2


def test_other_options_are_an_error_that_names_them(folder, labels, begun):
    with pytest.raises(ValueError, match=r"has augment \['scale'\], not \[\], epochs 50, not 3;") as error:
        checkpoints.Checkpoints(folder, Options(epochs=3), labels)
    assert str(folder) in str(error.value)


def test_a_batch_may_be_in_other_parts(folder, labels, begun):
    assert checkpoints.Checkpoints(folder, Options(augment=("scale",), accumulate=4), labels).history


def test_other_labels_are_an_error(tmp_path, folder, begun):
    write_labels(tmp_path / "other", 4, 8, seed=1)
    other = exports.open_labels(tmp_path / "other")
    with pytest.raises(ValueError, match="other labels"):
        checkpoints.Checkpoints(folder, Options(augment=("scale",)), other)


@pytest.mark.parametrize(
    ("text", "match"),
    [("{", "cannot be read"), ("[]", "cannot be read"), ("{}", "cannot be read"), (None, "format 2")],
)
def test_a_state_that_cannot_be_read_is_named(folder, labels, begun, text, match):
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "format_version": 2}) if text is None else text)
    with pytest.raises(ValueError, match=f"state.json: .*{match}.*train anew"):
        checkpoints.Checkpoints(folder, Options(augment=("scale",)), labels)


def test_arrays_that_cannot_be_read_are_named(folder, begun):
    whole = (folder / "epoch-2.npz").read_bytes()
    (folder / "epoch-2.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"epoch-2\.npz: cannot be read .* train anew"):
        begun.load(2)


def test_the_best_epoch_is_the_first_of_the_highest_agreement():
    assert checkpoints.best_epoch([{"agreement": value} for value in (0.2, 0.5, 0.4, 0.5)]) == 2
