"""A trained network as a file that programs without Keras can run, by Keras' own exporters."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

FORMATS = ("onnx", "saved_model", "litert")

NETWORK = "model.keras"
"""Name of the trained network in its folder."""

IMAGES, PROBABILITIES = "images", "probabilities"
"""Names of the exported network's input and output, in every format."""

_PACKAGES = {
    "onnx": ("tensorflow", "tf2onnx", "onnx"),
    "saved_model": ("tensorflow",),
    "litert": ("tensorflow",),
}
"""Modules that each format is made with."""


def export(model_dir: Path, format: str, path: Path) -> None:
    """Write a trained network in another format.

    It takes ``images``, uint8 (N, S, S, 3), RGB of 0 to 255, any N, and gives ``probabilities``, float32
    (N, S, S) in [0, 1], of foreground. It computes in float32, whatever precision it was trained with, and
    no matter which backend it was trained by.

    Parameters
    ----------
    model_dir : Path
        Folder with ``model.keras``.
    format : str
        "onnx"; "saved_model", a folder, of TensorFlow; or "litert", formerly TensorFlow Lite.
    path : Path
        Where to write it; nothing may be there.

    Raises
    ------
    ValueError
        If the format is not one of these.
    ImportError
        If a package that makes it is not installed; the message has the command that installs it.
    FileNotFoundError
        If there is no trained network.
    RuntimeError
        If it cannot be loaded, as one that would run code of its own, or not be converted.
    """
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    missing = [name for name in _PACKAGES[format] if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"{format} needs {' and '.join(missing)}, not installed here: pip install 'iem-xp[keras,export]'"
        )
    model = model_dir / NETWORK
    if not model.is_file():
        raise FileNotFoundError(f"{model_dir}: has no {NETWORK}, so nothing was trained here to its end")
    # In a process of its own: only Keras' TensorFlow backend has all formats, and this process may use
    # another one; and what converts them writes to the terminal as it likes. It needs no GPU, of which
    # TensorFlow would take all memory.
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-P", "-m", __name__, os.fspath(model), format, os.fspath(path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode:
        cause = done.stdout.strip() or done.stderr.strip().rpartition("\n")[2]
        raise RuntimeError(
            f"{model}: cannot be exported as {format}: {cause or f'exit status {done.returncode}'}"
        )


def _convert(model: str, format: str, path: str) -> None:
    """Do it, in a process with the TensorFlow backend."""
    import keras
    from keras import ops

    import iem_xp_keras.network  # noqa: F401  Keras finds the layers of a file by name

    trained = keras.saving.load_model(model, compile=False, safe_mode=True)
    network = keras.models.clone_model(trained, clone_function=_in_float32)
    network.set_weights(trained.get_weights())
    images = keras.Input(network.input_shape[1:], name=IMAGES, dtype="uint8")
    logits = network(ops.cast(images, "float32"))
    exported = keras.Model(images, {PROBABILITIES: ops.squeeze(ops.sigmoid(logits), -1)})
    options = {
        "input_signature": [keras.InputSpec("uint8", images.shape, name=IMAGES)],
        "verbose": False,
    }
    if format == "saved_model":
        exported.export(path, format="tf_saved_model", **options)
    elif format == "litert":
        exported.export(f"{path}.tflite", format="litert", **options)  # it insists on this suffix
        os.replace(f"{path}.tflite", path)
    else:
        exported.export(path, format="onnx", **options)
        _name_batch(path)


def _in_float32(layer: keras.Layer) -> keras.Layer:
    return type(layer).from_config({**layer.get_config(), "dtype": "float32"})


def _name_batch(path: str) -> None:
    """Name the first dimension of an ONNX file's input and output, which is nameless by default."""
    import onnx

    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


if __name__ == "__main__":
    try:
        _convert(*sys.argv[1:])
    except Exception as error:
        sys.exit(print(error) or 1)
