import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

import keras_session
from exported import write_labels

trainer = pytest.importorskip("iem_xp_keras.trainer", reason="Keras or its backend is not installed")
exports = pytest.importorskip("iem_xp_keras.labels", reason="Keras or its backend is not installed")

ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    write_labels(folder, 16, 12)
    return folder


@pytest.fixture(scope="module")
def begin(labels):
    """Train in another process, on one thread; its exit status is returned."""

    def begin(model, backend, *arguments, **environment):
        command = [sys.executable, keras_session.__file__, labels, model, *map(str, arguments)]
        variables = {**os.environ, **ONE_THREAD, **environment, "KERAS_BACKEND": backend}
        variables["PYTHONPATH"] = os.pathsep.join(sys.path)
        return subprocess.run(command, env=variables, capture_output=True, check=False).returncode

    return begin


@pytest.fixture(scope="module", params=["tensorflow", "jax"])
def model(request, begin, tmp_path_factory):
    """A folder that a whole training wrote."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    assert begin(folder, request.param) == 0
    return folder


def seen(model):
    return json.loads((model / "seen.json").read_text())


def table(model):
    return (model / "history.csv").read_text().splitlines(keepends=True)


def weights(model):
    return trainer.load(model).network.get_weights()


def test_every_backend_gets_the_same_data_in_the_same_order(model, labels):
    options = trainer.read_options(keras_session.OPTIONS)
    learnt, _ = exports.split(16, options.validation, options.seed)
    batches = exports.Batches(exports.open_labels(labels), learnt, 1, options.batch_size, 1, options)
    facts = seen(model)
    assert model.name.startswith(facts["backend"])
    assert facts["data"] == [keras_session.digest(batch) for batch in batches]


def test_the_loss_falls_on_every_backend(model):
    losses = seen(model)["losses"]
    assert len(losses) == 4
    assert losses[-1] < 0.8 * losses[0]


def test_a_network_of_any_backend_finds_the_masks_on_the_one_that_is_here(model, labels):
    images, masks = (np.load(labels / f"{name}.npy") for name in ("images", "masks"))
    found = trainer.load(model).predict(images) > 0.5
    assert np.mean(found == masks) > 0.85  # three quarters are background


def test_there_are_a_network_a_table_a_picture_and_a_state(model):
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    files = {path.relative_to(model).as_posix() for path in model.rglob("*") if path.is_file()}
    assert files == {"model.keras", "history.csv", "curves.png", "checkpoint/state.json", "seen.json"}


def test_a_finished_training_is_not_done_again(model, labels):
    def progress(*_):
        raise AssertionError

    before = (model / "model.keras").read_bytes()
    history = trainer.fit(labels, model, keras_session.OPTIONS, progress)
    assert [figures["loss"] for figures in history] == seen(model)["losses"]
    assert (model / "model.keras").read_bytes() == before


def test_a_training_that_is_killed_goes_on_to_the_same_end(model, begin, tmp_path):
    backend = seen(model)["backend"]
    if backend != "tensorflow":
        pytest.skip("shown on one backend")
    assert begin(tmp_path, backend, 5) == -signal.SIGKILL  # in the second epoch of four
    assert not (tmp_path / "model.keras").exists()
    assert (tmp_path / "history.csv").read_text() == "".join(table(model)[:2])
    assert begin(tmp_path, backend) == 0
    assert len(table(tmp_path)) == 1 + 4
    assert seen(tmp_path)["losses"] == pytest.approx(seen(model)["losses"][1:], abs=1e-5)
    for mine, its in zip(weights(tmp_path), weights(model), strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=1e-5)


def test_two_devices_make_the_same_network_as_one(model, begin, tmp_path):
    if seen(model)["backend"] != "jax":
        pytest.skip("only JAX shares batches among devices")
    flags = f"{ONE_THREAD['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    assert begin(tmp_path, "jax", XLA_FLAGS=flags) == 0
    assert [seen(folder)["distributions"] for folder in (model, tmp_path)] == [["NoneType"], ["DataParallel"]]
    for mine, its in zip(weights(tmp_path), weights(model), strict=True):
        np.testing.assert_allclose(mine, its, rtol=0, atol=1e-3)


def test_an_unknown_option_is_an_error_before_anything_is_written(labels, tmp_path):
    with pytest.raises(ValueError, match="no option epoch"):
        trainer.fit(labels, tmp_path / "model", {"epoch": 3}, print)
    assert not (tmp_path / "model").exists()
    with pytest.raises(ValueError, match="no option epoch"):
        trainer.check({"epoch": 3})
    trainer.check({"epochs": 3})


def test_a_model_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.keras: is not there; train it first"):
        trainer.load(tmp_path)


def test_a_model_file_that_would_run_code_of_its_own_is_not_loaded(here):
    keras = pytest.importorskip("keras", reason="Keras is not installed")
    images = keras.Input((8, 8, 3))
    code = keras.layers.Lambda(lambda images: __import__("pathlib").Path("ran").touch() or images)
    keras.Model(images, code(images)).save(here / trainer.NETWORK)
    (here / "ran").unlink()
    with pytest.raises(ValueError, match="Lambda"):
        trainer.load(here)
    assert not (here / "ran").exists()


def test_without_keras_or_its_backend_the_error_says_what_to_install():
    code = "import sys; sys.modules[sys.argv[1]] = None; import iem_xp_keras.trainer"
    for missing in ("keras", "tensorflow"):
        done = subprocess.run(
            [sys.executable, "-c", code, missing],
            env={**os.environ, "KERAS_BACKEND": "tensorflow"},
            capture_output=True,
            text=True,
            check=False,
        )
        last = done.stderr.strip().splitlines()[-1]
        assert last.startswith("ImportError: the Keras trainer needs Keras and its backend")
        assert "pip install 'iem-xp[keras]'" in last
        assert missing in last.partition("[keras]")[2]


def test_the_package_alone_is_light():
    code = "import sys, iem_xp_keras; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"keras", "tensorflow", "jax", "numpy", "matplotlib"}
