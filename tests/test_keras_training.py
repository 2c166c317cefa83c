from types import SimpleNamespace

import numpy as np
import pytest

from exported import write_labels
from iem_xp_keras.options import Options

training = pytest.importorskip("iem_xp_keras.training", reason="Keras or its backend is not installed")
checkpoints = pytest.importorskip("iem_xp_keras.checkpoints", reason="Keras or its backend is not installed")
exports = pytest.importorskip("iem_xp_keras.labels", reason="Keras or its backend is not installed")

TINY = {"epochs": 2, "batch_size": 4, "width": 4, "validation": 0.2, "flips": True, "average": 0.5}


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """Train something that compiles fast: how does not depend on what."""
    layers = training.keras.layers

    def build(size, width, seed, dtype="float32"):
        options = {
            "kernel_initializer": training.keras.initializers.GlorotUniform(seed),
            "padding": "same",
            "use_bias": False,  # its gradient would be nothing but rounding
            "dtype": dtype,
        }
        images = training.keras.Input((size, size, 3))
        x = layers.Rescaling(1 / 127.5, offset=-1, name="rescaling", dtype=dtype)(images)
        x = layers.Conv2D(width, 3, name="first", **options)(x)
        x = layers.GroupNormalization(-1, name="norm", dtype=dtype)(x)
        x = layers.Conv2D(1, 3, name="second", **options)(x)
        return training.keras.Model(images, layers.Activation("linear", name="logits", dtype="float32")(x))

    monkeypatch.setattr(training, "build_network", build)


def ignore(*_):
    """No progress wanted."""


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    write_labels(folder, 16, 12)
    return exports.open_labels(folder)


@pytest.fixture
def train(labels, tmp_path):
    """Train a tiny network in a folder of `tmp_path`; its weights and history are returned."""

    def train(name="run", progress=ignore, **changes):
        options = Options(**{**TINY, **changes})
        state = checkpoints.Checkpoints(tmp_path / name, options, labels)
        network = training.train(labels, options, state, progress)
        return SimpleNamespace(weights=network.get_weights(), history=state.history)

    return train


def assert_equal_weights(one, other, tolerance=0.0):
    for mine, its in zip(one.weights, other.weights, strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=tolerance)


def test_the_network_has_the_width_and_the_weights_that_the_options_say(labels):
    one, other = (training.Training(labels, Options(**{**TINY, "width": 6, "seed": s})) for s in (0, 1))
    kernels = [trained._network.get_layer("first").get_weights()[0] for trained in (one, other)]
    assert [kernel.shape for kernel in kernels] == [(3, 3, 3, 6)] * 2
    assert not np.allclose(*kernels)


def test_an_update_is_adams_for_the_cross_entropy_of_the_logits(labels, tmp_path):
    changes = {"epochs": 1, "batch_size": 16, "validation": 0, "flips": False, "learning_rate": 0.02}
    options = Options(**{**TINY, **changes})
    trained = training.Training(labels, options)
    before = trained._network.get_weights()
    logits = trained._network.predict_on_batch(labels.images)[..., 0].astype(float)
    state = checkpoints.Checkpoints(tmp_path, options, labels)
    trained.run(state, ignore)
    loss = np.mean(np.logaddexp(0, logits) - logits * labels.masks)
    assert state.history == [{"loss": pytest.approx(loss, rel=1e-4)}]
    for old, new in zip(before, trained._network.get_weights(), strict=True):
        assert abs(new - old).max() == pytest.approx(0.02, rel=0.02)  # Adam's first update, but for its sign


def test_labels_that_are_held_back_are_never_learnt(train, monkeypatch):
    shown = set()
    show = exports.Batches._shown
    monkeypatch.setattr(
        exports.Batches, "_shown", lambda self, label: (shown.add(label), show(self, label))[1]
    )
    train()
    learnt, held_back = exports.split(16, TINY["validation"], 0)
    assert len(held_back) == 3
    assert shown <= set(learnt.tolist())


def test_progress_comes_with_every_update_and_with_the_figures_of_an_epoch(train):
    told = []
    trained = train(progress=lambda step, steps, figures: told.append((step, steps, dict(figures))))
    assert [(step, steps) for step, steps, _ in told] == [(s, 6) for s in (1, 2, 3, 3, 4, 5, 6, 6)]
    assert [set(figures) for _, _, figures in told[:3]] == [{"loss"}] * 3
    assert [figures for *_, figures in (told[3], told[7])] == trained.history
    assert set(trained.history[0]) == {"loss", "val_loss", "agreement"}


def test_without_labels_held_back_there_is_only_a_loss(train):
    assert [set(figures) for figures in train(validation=0, epochs=1).history] == [{"loss"}]


def test_the_result_is_the_average_of_the_weights_after_each_update(labels, tmp_path):
    options = Options(**{**TINY, "epochs": 1})
    trained, seen = training.Training(labels, options), []

    def remember(step, *_):
        if len(seen) < step:
            seen.append(trained._network.get_weights())

    result = trained.run(checkpoints.Checkpoints(tmp_path, options, labels), remember)
    for mean, first, second, third in zip(result.get_weights(), *seen, strict=True):
        np.testing.assert_allclose(mean, first / 4 + second / 4 + third / 2, atol=1e-6)


def test_without_an_average_the_result_has_the_last_weights(labels, tmp_path):
    options = Options(**{**TINY, "epochs": 1, "average": 0})
    trained = training.Training(labels, options)
    result = trained.run(checkpoints.Checkpoints(tmp_path, options, labels), ignore)
    for mine, its in zip(result.get_weights(), trained._network.get_weights(), strict=True):
        assert np.array_equal(mine, its)


def test_a_batch_in_parts_makes_the_same_updates(train):
    whole, parts = train("whole"), train("parts", accumulate=2)
    assert_equal_weights(whole, parts, 2e-5)
    for one, other in zip(whole.history, parts.history, strict=True):
        assert one == pytest.approx(other, abs=1e-4)


def test_a_batch_is_never_in_unequal_parts(labels):
    options = Options(**{**TINY, "batch_size": 10})
    assert training.Training(labels, options, 3).parts == 5
    few = training.Training(labels, Options(**{**TINY, "batch_size": 128}), 200)
    assert (few.batch, few.parts) == (13, 13)


@pytest.fixture
def little_memory(monkeypatch):
    """Let updates with more than two images at a time fail as a backend would, in the second epoch."""
    fit = training.keras.Model.fit

    def failing(self, batches, **arguments):
        if batches._epoch == 1 and len(batches[0][0]) > 2:
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 16 bytes.")
        return fit(self, batches, **arguments)

    monkeypatch.setattr(training.keras.Model, "fit", failing)


def test_a_batch_that_does_not_fit_is_computed_in_parts_from_the_last_epoch_on(train, request):
    whole = train("whole")
    request.getfixturevalue("little_memory")
    with pytest.warns(UserWarning, match="4 images at a time do not fit in memory: .* in 2 parts"):
        parts = train("parts")
    assert_equal_weights(whole, parts, 2e-5)
    assert parts.history[0] == whole.history[0]


def test_what_does_not_fit_in_any_parts_and_other_errors_are_raised(train):
    def fail(error):
        raise error

    with pytest.raises(KeyError):
        train("one", progress=lambda *_: fail(KeyError("unexpected")))
    with pytest.raises(MemoryError), pytest.warns(UserWarning, match="in 4 parts"):
        train("two", progress=lambda *_: fail(MemoryError()), accumulate=2)


def test_the_weights_of_the_best_epoch_are_taken_and_patience_has_an_end(train, monkeypatch):
    agreements = iter([0.2, 0.5, 0.4, 0.5, 0.9])
    best = train("best", epochs=2)
    monkeypatch.setattr(training.Training, "_validate", lambda self: {"agreement": next(agreements)})
    stopped = train("patient", epochs=5, patience=2)
    assert [figures["agreement"] for figures in stopped.history] == [0.2, 0.5, 0.4, 0.5]
    assert_equal_weights(stopped, best)


def test_what_was_stopped_by_patience_is_not_trained_on(train, monkeypatch):
    monkeypatch.setattr(training.Training, "_validate", lambda self: {"agreement": 0.5})
    first = train(epochs=5, patience=1)
    assert len(first.history) == 2
    assert_equal_weights(first, train(epochs=5, patience=1))


def test_an_interrupted_training_goes_on_to_the_same_end(train):
    def interrupt(step, *_):
        if step == 5:
            raise KeyboardInterrupt

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("interrupted", progress=interrupt)
    steps = []
    continued = train("interrupted", progress=lambda step, *_: steps.append(step))
    assert steps == [4, 5, 6, 6]
    assert_equal_weights(whole, continued, 1e-6)
    assert continued.history == [pytest.approx(figures, abs=1e-5) for figures in whole.history]


def test_mixed_precision_trains_and_gives_a_float32_network(labels, tmp_path):
    options = Options(**{**TINY, "epochs": 1, "mixed_precision": True})
    trained = training.Training(labels, options)
    assert trained._network.get_layer("first").compute_dtype == "bfloat16"
    result = trained.run(checkpoints.Checkpoints(tmp_path, options, labels), ignore)
    assert {layer.compute_dtype for layer in result.layers} == {"float32"}
    assert all(np.isfinite(weights).all() for weights in result.get_weights())


def test_agreement_is_the_intersection_over_the_union():
    masks = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[1, 0, 0, 0]]], bool)
    others = np.array([[[0, 1, 1, 0]], [[0, 0, 0, 0]], [[0, 0, 0, 0]]], bool)
    np.testing.assert_allclose(training.intersections_over_unions(masks, others), [1 / 3, 1, 0])


def test_figures_of_held_back_labels_are_those_of_the_result(labels, tmp_path):
    options = Options(**{**TINY, "epochs": 1})
    state = checkpoints.Checkpoints(tmp_path, options, labels)
    network = training.train(labels, options, state, ignore)
    _, held_back = exports.split(16, 0.2, 0)
    logits = network.predict_on_batch(labels.images[held_back])[..., 0]
    probabilities = 1 / (1 + np.exp(-logits.astype(float)))
    masks = labels.masks[held_back]
    loss = -np.mean(np.where(masks, np.log(probabilities), np.log(1 - probabilities)))
    assert state.history[0]["val_loss"] == pytest.approx(loss, rel=1e-4)
    found = logits > 0
    ious = (found & (masks > 0)).sum((1, 2)) / (found | (masks > 0)).sum((1, 2))
    assert state.history[0]["agreement"] == pytest.approx(ious.mean(), rel=1e-6)
