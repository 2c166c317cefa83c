"""Exported networks give what Keras gives in full precision, and the page on them says how to run them."""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from iem_xp.images import fit_image
from iem_xp_keras import exporting

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "cli" / "iem_xp_cli" / "samples"
PAGE = (ROOT / "docs" / "export-model.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^## (\w+)\n(?:(?!^## ).)*?```python\n(.*?)```", PAGE, re.S | re.M))
"""Code by the first word of its heading."""

SIZE = 32
NAMES = {"onnx": "keras.onnx", "saved_model": "keras.saved_model", "litert": "keras.tflite"}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # TensorFlow's

for package in ("keras", "tensorflow", "tf2onnx", "onnx"):
    if find_spec(package) is None:
        pytest.skip(f"{package} is not installed", allow_module_level=True)


def save(network, folder):
    folder.mkdir()
    network.save(folder / "model.keras")
    return folder


@pytest.fixture(scope="module")
def images():
    """Noise, and photographs."""
    noise = np.random.default_rng(5).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    names = ("flower", "cat", "coffee")
    return np.stack(
        [*noise, *(fit_image(iio.imread(SAMPLES / f"{name}.jpg"), SIZE, "crop") for name in names)]
    )


def build(dtype):
    """A network of the same weights, whatever it computes in."""
    from iem_xp_keras.network import build_network

    return build_network(SIZE, width=4, seed=3, dtype=dtype)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return save(build("mixed_float16"), tmp_path_factory.mktemp("models") / "keras")


@pytest.fixture(scope="module")
def expected(images):
    """What Keras gives in full precision."""
    logits = np.asarray(build("float32")(images.astype(np.float32)))[..., 0]
    probabilities = 1 / (1 + np.exp(-logits))
    assert np.ptp(probabilities) > 0.5  # there is something to get wrong
    return probabilities


@pytest.fixture(scope="module")
def exported(model_dir, tmp_path_factory):
    """The network in every format, in one folder, where another backend is asked for than TensorFlow."""
    folder = tmp_path_factory.mktemp("exported")
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor() as pool:
        patch.setenv("KERAS_BACKEND", "jax")
        made = [pool.submit(exporting.export, model_dir, form, folder / NAMES[form]) for form in NAMES]
        for one in made:
            one.result()
    assert {path.name for path in folder.iterdir()} == set(NAMES.values())
    return folder


def check(run, images, expected):
    """`run` gives what Keras gives, however many images at a time."""
    for some in (slice(1), slice(1, 3), slice(None)):
        found = run(images[some])
        assert found.dtype == np.float32
        assert found.shape == (len(images[some]), SIZE, SIZE)
        assert found.min() >= 0
        assert found.max() <= 1
        np.testing.assert_allclose(found, expected[some], rtol=0, atol=1e-4)


def test_onnx_gives_what_keras_gives(exported, images, expected):
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = onnxruntime.InferenceSession(exported / NAMES["onnx"])
    (takes,), (gives,) = session.get_inputs(), session.get_outputs()
    assert (takes.name, takes.type, takes.shape) == ("images", "tensor(uint8)", ["batch", SIZE, SIZE, 3])
    assert (gives.name, gives.type, gives.shape) == ("probabilities", "tensor(float)", ["batch", SIZE, SIZE])
    check(lambda images: session.run(None, {"images": images})[0], images, expected)


def test_a_saved_model_gives_what_keras_gives(exported, images, expected):
    import tensorflow as tf

    loaded = tf.saved_model.load(exported / NAMES["saved_model"])
    serve = loaded.signatures["serving_default"]
    (takes,) = serve.structured_input_signature[1].values()
    assert (takes.name, takes.dtype, takes.shape.as_list()) == ("images", tf.uint8, [None, SIZE, SIZE, 3])
    check(lambda images: serve(images=tf.constant(images))["probabilities"].numpy(), images, expected)
    check(lambda images: loaded.serve(images)["probabilities"].numpy(), images, expected)


def test_litert_gives_what_keras_gives(exported, images, expected):
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="ai-edge-litert is not installed")
    runner = litert.Interpreter(os.fspath(exported / NAMES["litert"])).get_signature_runner()
    (takes,) = runner.get_input_details().values()
    assert takes["dtype"] == np.uint8
    assert takes["shape_signature"].tolist() == [-1, SIZE, SIZE, 3]
    check(lambda images: runner(images=images)["probabilities"], images, expected)


@pytest.mark.parametrize(
    ("heading", "package"),
    [("ONNX", "onnxruntime"), ("SavedModel", "tensorflow"), ("LiteRT", "ai_edge_litert")],
)
def test_the_pages_example_runs(heading, package, exported, monkeypatch):
    pytest.importorskip(package, reason=f"{package} is not installed")
    monkeypatch.chdir(exported)
    photograph = iio.imread(SAMPLES / "flower.jpg")
    names = {"photograph": photograph}
    exec(
        EXAMPLES["Images"].replace("rose.jpg", os.fspath(SAMPLES / "flower.jpg")).replace("128", str(SIZE)),
        names,
    )
    assert (names["images"][0] == fit_image(photograph, SIZE, "squash")).all()
    exec(EXAMPLES[heading], names)
    assert names["probabilities"].shape == (1, SIZE, SIZE)
    exec(EXAMPLES["Masks"], names)
    assert names["mask"].shape == photograph.shape[:2]


def test_a_model_file_that_would_run_code_of_its_own_is_refused(here, capfd):
    import keras

    images = keras.Input((SIZE, SIZE, 3))
    code = keras.layers.Lambda(lambda images: __import__("pathlib").Path("ran").touch() or images)
    folder = save(keras.Model(images, code(images)), here / "strange")
    (here / "ran").unlink()
    capfd.readouterr()
    with pytest.raises(RuntimeError, match=r"model\.keras: cannot be exported as onnx: .*`Lambda` layer"):
        exporting.export(folder, "onnx", here / "strange.onnx")
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in here.iterdir()] == ["strange"]


def test_another_format_is_an_error_that_names_those_that_there_are(tmp_path):
    with pytest.raises(ValueError, match="one of onnx, saved_model, litert, not 'torch'"):
        exporting.export(tmp_path, "torch", tmp_path / "network.torch")


def test_without_its_packages_the_install_line_comes_at_once(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    monkeypatch.setattr(exporting, "find_spec", lambda name: None if name == "tf2onnx" else True)
    with pytest.raises(ImportError, match=r"onnx needs tf2onnx.*pip install 'iem-xp\[keras,export\]'"):
        exporting.export(tmp_path, "onnx", tmp_path / "network.onnx")


def test_a_folder_without_a_network_is_an_error_that_names_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=re.escape(f"{tmp_path}: has no model.keras")):
        exporting.export(tmp_path, "litert", tmp_path / "network.tflite")
