"""What importing iem_xp costs, and which way its modules lean."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import iem_xp

PACKAGE = Path(iem_xp.__file__).parent

HEAVY = {
    "click",
    "cupy",
    "cv2",
    "imageio",
    "jax",
    "keras",
    "lmdb",
    "pyarrow",
    "distributed",
    "matplotlib",
    "numba",
    "PIL",
    "scipy",
    "sklearn",
    "tensorflow",
    "torch",
    "tqdm",
}

CUPY = {"cupy", "cupyx", "cupy_backends"}

PACKAGES = ["iem_xp", "iem_xp_cli", "iem_xp_keras", "iem_xp_pixels"]

LAYERS = [
    "config",
    "threads",
    "arrays",
    "cuda",
    "devices",
    "memory",
    "gaussian",
    "layout",
    "palette",
    "marginals",
    "terms",
    "projection",
    "kernels",
    "choice",
    "cut",
    "solver",
    "fused",
    "engines",
]
"""The core from the ground up; segmentation and formulas stand beside each other on top of it."""

ABOVE = [
    "segmentation",
    "formulas",
    "metrics",
    "selftest",
    "files",
    "ordered",
    "archives",
    "contents",
    "decoding",
    "images",
    "rendering",
    "edges",
    "labels",
    "boxes",
    "baselines",
    "runs",
    "exports",
    "curation",
    "pseudo_labels",
    "datasets",
    "evaluation",
    "reproduction",
    "trainers",
    "models",
    "exporting",
    "prediction",
    "refinement",
    "report",
]
"""What is built on the core, from the ground up."""

FUSED = ["compiling", "words", "tables", "filtering", "marginals", "terms", "ascent", "cutting", "search"]
"""The compiled engine from the ground up; the package itself, on top of it, is handed to the engines."""

KERAS = [
    "quiet",
    "augmentation",
    "options",
    "labels",
    "network",
    "checkpoints",
    "curves",
    "prediction",
    "training",
    "exporting",
    "trainer",
]
"""The Keras trainer from the ground up; it needs nothing of the library."""

PIXELS = ["options", "features", "network", "training", "trainer"]
"""The trainer of pixels from the ground up."""

PIXELS_USES = {"config", "palette", "files", "pseudo_labels", "layout", "threads"}
"""What that one takes from the library: colours as the search sees them, files, and folders of labels."""


def imports(module):
    """Full names of all modules that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module.name}: a relative import"
            yield node.module
            if node.module == "iem_xp":
                yield from (f"iem_xp.{alias.name}" for alias in node.names)


def file_of(module):
    """A module's file, or that of the package of this name."""
    file = PACKAGE / f"{module}.py"
    return file if file.exists() else PACKAGE / module / "__init__.py"


def parts_used(file):
    """Modules and packages of iem_xp that a file imports from."""
    return {name.split(".")[1] for name in imports(file) if name.startswith("iem_xp.")}


def test_import_pulls_in_nothing_heavy():
    code = "import sys, iem_xp; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {"numpy", "iem_xp"} <= loaded
    assert not loaded & HEAVY


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_but_arrays_imports_cupy(package):
    folder = Path(importlib.import_module(package).__file__).parent
    files = sorted(folder.rglob("*.py"))
    assert files
    found = {file for file in files if {name.partition(".")[0] for name in imports(file)} & CUPY}
    assert found == ({PACKAGE / "arrays.py"} if package == "iem_xp" else set())


WATCH = """
import importlib.util, pkgutil, sys

class Watch:
    "A finder that finds nothing: it writes down which module looks for CuPy."
    def find_spec(self, name, path=None, target=None):
        if name in CUPY:
            frame = sys._getframe(1)
            while frame.f_globals["__name__"].partition(".")[0] == "importlib":
                frame = frame.f_back
            who = frame.f_globals["__name__"]
            if who.partition(".")[0] not in CUPY:
                print("looks for CuPy:", who)

sys.meta_path.insert(0, Watch())
importlib.util.find_spec("cupyx")  # seen, as it should be
packages = [importlib.import_module(name) for name in PACKAGES]
for package in packages:
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        try:
            importlib.import_module(module.name)
        except ImportError:  # without Keras or its backend
            if package.__name__ != "iem_xp_keras":
                raise
        print("imported:", module.name)

import numpy as np
from iem_xp import IEMConfig, cuda, inpainting_error, segment
cuda.driver_version = lambda: "12.9"  # without one, nobody would look
image = np.zeros((16, 16, 3), np.uint8)
image[4:9, 5:12] = 200
for device in ("cpu", "auto"):
    print("device:", device)
    found = segment(image, IEMConfig(iterations=3), device=device)
    inpainting_error(image, found.masks)
    print("found:", found.masks.sum() > 0)
"""


def test_nothing_looks_for_cupy_but_arrays_when_a_device_is_named():
    code = WATCH.replace("CUPY", repr(CUPY)).replace("PACKAGES", repr(PACKAGES))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, on_cpu, automatic = (part.splitlines() for part in done.stdout.split("device: "))
    imported = {line.partition(": ")[2] for line in before if line.startswith("imported")}
    assert {"iem_xp.arrays", "iem_xp.runs.pipeline", "iem_xp_cli.segment"} <= imported
    for lines, may in ((before, {"__main__"}), (on_cpu, set()), (automatic, {"iem_xp.arrays"})):
        who = {line.partition(": ")[2] for line in lines if line.startswith("looks for CuPy")}
        assert who <= may
    assert "looks for CuPy: __main__" in before
    assert on_cpu[-1] == automatic[-1] == "found: True"


@pytest.mark.parametrize("module", [*LAYERS, "segmentation", "formulas", "metrics"])
def test_no_array_is_asked_for_an_attribute_that_some_library_lacks(module):
    attributes = {
        node.attr
        for node in ast.walk(ast.parse(file_of(module).read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    # CuPy 13 has no mT; to_device and friends differ everywhere but in arrays.py.
    assert not attributes & {"mT", "to_device", "numpy"}


@pytest.mark.parametrize("module", [*LAYERS, "segmentation", "formulas"])
def test_a_module_imports_only_from_below(module):
    below = LAYERS[: LAYERS.index(module)] if module in LAYERS else LAYERS
    assert parts_used(file_of(module)) - {module} <= set(below)


def test_every_module_has_its_place():
    found = {path.stem for path in PACKAGE.glob("*.py")} | {
        path.parent.name for path in PACKAGE.glob("*/*.py")
    }
    assert found - {"__init__"} == {*LAYERS, *ABOVE}


@pytest.mark.parametrize("module", ABOVE)
def test_what_is_built_on_the_core_imports_only_from_below(module):
    files = [file_of(module), *(PACKAGE / module).glob("*.py")]
    below = {*LAYERS, *ABOVE[: ABOVE.index(module)]}
    assert set().union(*map(parts_used, files)) - {module} <= below


@pytest.mark.parametrize("module", FUSED)
def test_a_module_of_the_fused_engine_imports_only_from_below(module):
    file = PACKAGE / "fused" / f"{module}.py"
    core = set(LAYERS[: LAYERS.index("solver")])
    assert parts_used(file) - {"fused"} <= core
    inside = {name.split(".")[2] for name in imports(file) if name.startswith("iem_xp.fused.")}
    assert inside <= set(FUSED[: FUSED.index(module)])


def test_the_keras_trainer_imports_nothing_of_the_library_and_only_from_below():
    folder = PACKAGE.parent / "trainers" / "iem_xp_keras"
    assert {path.stem for path in folder.glob("*.py")} == {*KERAS, "__init__"}
    for module in KERAS:
        names = {name for name in imports(folder / f"{module}.py") if name.startswith("iem_xp")}
        assert names <= {f"iem_xp_keras.{below}" for below in KERAS[: KERAS.index(module)]}


def test_the_trainer_of_pixels_imports_little_of_the_library_and_only_from_below():
    folder = PACKAGE.parent / "trainers" / "iem_xp_pixels"
    assert {path.stem for path in folder.glob("*.py")} == {*PIXELS, "__init__"}
    for module in PIXELS:
        names = {name for name in imports(folder / f"{module}.py") if name.startswith("iem_xp_")}
        assert names <= {f"iem_xp_pixels.{below}" for below in PIXELS[: PIXELS.index(module)]}
        assert parts_used(folder / f"{module}.py") <= PIXELS_USES


def test_every_public_name_exists():
    assert all(hasattr(iem_xp, name) for name in iem_xp.__all__)
