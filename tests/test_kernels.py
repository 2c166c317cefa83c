"""The CUDA kernels: compiled for GPUs, and computed by the host, beside the array code."""

import ctypes
from dataclasses import replace
from importlib import metadata, resources

import numpy as np
import pytest

import scenes
from counting import Library, launches, plane_passes
from hostcuda import COMPILER, CudaLibrary, kernels_of
from iem_xp import IEMConfig, kernels, segment, terms
from iem_xp.layout import to_colours
from iem_xp.solver import ascend, centred_square, solve, update
from iem_xp.terms import Scene, add_up

on_the_host = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")

SOURCE = resources.files("iem_xp").joinpath("kernels.cu").read_text(encoding="utf-8")

CONFIGS = {
    "default": IEMConfig(),
    "anywhere": IEMConfig(boundary_only=False),
    "no smoothing": IEMConfig(smooth=False),
    "no diversity": IEMConfig(regularization=0.0),
    "large epsilon": IEMConfig(epsilon=1e-2, regularization=0.1),
    "three passes": IEMConfig(repeats=3, kernel_size=7, sigma=3.0),
    "scale 2": IEMConfig(scale_factor=2, kernel_size=7, sigma=2.5),
    "colour marginals": IEMConfig(colour_weight=1e-3, colours=9),
}
SIZES = [(24, 20, 3), (40, 33, 1), (9, 31, 5), (1, 12, 3), (12, 1, 2), (1, 1, 3), (2, 2, 4)]


# For GPUs


@pytest.fixture(scope="module")
def nvrtc():
    """NVIDIA's compiler, which needs no GPU."""
    try:
        files = metadata.files("nvidia-cuda-nvrtc-cu12")
    except metadata.PackageNotFoundError:
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")
    (file,) = [file for file in files if file.match("*nvrtc.so*") or file.match("nvrtc64_120_0.dll")]
    return ctypes.CDLL(str(file.locate()))


def compile_for(nvrtc, source, architecture):
    """Machine code for an architecture, or the compiler's messages as an AssertionError."""
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"kernels.cu", 0, None, None) == 0
    options = [f"--gpu-architecture={architecture}".encode(), *map(str.encode, kernels.OPTIONS)]
    failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, log)
    assert not failed, log.value.decode()
    nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size))
    code = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetCUBIN(program, code)
    return code.raw


@pytest.mark.parametrize("architecture", ["sm_61", "sm_70", "sm_80", "sm_90"])
def test_nvidias_compiler_takes_the_kernels(nvrtc, architecture):
    code = compile_for(nvrtc, SOURCE, architecture)
    assert code.startswith(b"\x7fELF")
    assert all(f".text.{name}".encode() in code for name in ("inpaint", "project", "smooth"))


def test_nvidias_compiler_finds_a_mistake(nvrtc):
    with pytest.raises(AssertionError, match="fabsq"):
        compile_for(nvrtc, SOURCE.replace("fabsf", "fabsq"), "sm_80")


# What they compute


def scene_of(library, images, config):
    return Scene.of_images(library.asarray(images), config)


def update_on(library, images, masks, config):
    return update(scene_of(library, images, config), library.asarray(masks)).values


@on_the_host
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_an_update_is_that_of_the_array_code(rng, config, size):
    images = scenes.images(rng, 5, *size)
    masks = np.stack([scenes.mask(rng, *size[:2]) for _ in images])
    masks[3], masks[4] = True, False
    by_kernels, by_calls = CudaLibrary(), Library()
    np.testing.assert_array_equal(
        update_on(by_kernels, images, masks, config), update_on(by_calls, images, masks, config)
    )
    assert set(kernels_of(SOURCE)) - {call.name for call in by_kernels.calls} == (
        set() if config.smooth else {"smooth"}
    )


@on_the_host
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_errors_and_derivatives_are_those_of_the_array_code(rng, config):
    images = scenes.images(rng, 4) / 255
    images[2, ..., 1] = 0.5  # predicted without any error, whose sign is 0
    masks = np.stack([scenes.mask(rng) for _ in images])
    masks[3] = True
    scene = scene_of(CudaLibrary(), images, config)
    sums = add_up(scene, scene.colours.library.asarray(masks))
    expected = terms.inpaint(scene, sums)
    result = kernels.inpaint(scene, sums)
    for found, name in zip(result, ("error", "by_colours", "by_support"), strict=True):
        values = getattr(expected, name).values
        np.testing.assert_allclose(found.values, values, rtol=0, atol=1e-6 * np.max(np.abs(values)))


@on_the_host
@pytest.mark.parametrize("choice", ["image", "dataset"])
def test_a_search_ends_at_the_masks_of_numpy(rng, choice):
    images = scenes.images(rng, 6)
    config = IEMConfig(choose=choice)
    result = segment(CudaLibrary().asarray(images), config)
    expected = segment(images, config, engine="array")
    np.testing.assert_array_equal(result.masks.values, expected.masks)
    np.testing.assert_array_equal(result.updates.values, expected.updates)
    np.testing.assert_allclose(result.inpainting_error.values, expected.inpainting_error, rtol=1e-5)


@on_the_host
@pytest.mark.parametrize("choice", ["information", "dataset"])
def test_the_best_masks_are_those_of_numpy(rng, monkeypatch, choice):
    monkeypatch.setattr("iem_xp.cut.STEPS", 10)
    images, prior = scenes.images(rng, 4), rng.normal(size=(4, 24, 20)).astype(np.float32)
    config = replace(IEMConfig.preset("best"), choose=choice)
    ours = CudaLibrary()
    found = solve(ours.asarray(images), (48, 72), config, prior=ours.asarray(prior))
    for one, other in zip(found, solve(images, (48, 72), config, prior=prior), strict=True):
        np.testing.assert_array_equal(one.masks.values, other.masks)
        np.testing.assert_array_equal(one.start.values, other.start)
        np.testing.assert_allclose(one.information.values, other.information, atol=1e-6)
        np.testing.assert_allclose(one.inpainting_error.values, other.inpainting_error, rtol=1e-5)


@on_the_host
def test_a_constant_image_keeps_its_mask():
    images = CudaLibrary().asarray(np.full((1, 48, 40, 3), 77, dtype=np.uint8))
    result = segment(images, IEMConfig(init_sides=44, smooth=False))
    np.testing.assert_array_equal(result.masks.values, centred_square(np.zeros((1, 48, 40, 3)), 44))


# Where they apply


def test_other_precisions_and_libraries_are_left_to_the_array_code(rng):
    images = scenes.images(rng, 1)
    config = IEMConfig()
    assert kernels.apply_to(scene_of(CudaLibrary(), images, config))
    assert not kernels.apply_to(scene_of(Library(), images, config))
    assert not kernels.apply_to(scene_of(CudaLibrary(), images[:0], config))
    colours = to_colours(CudaLibrary().asarray(images), np.float64)
    assert not kernels.apply_to(Scene.of(colours, config))


def test_cupy_has_what_they_need():
    cupy = pytest.importorskip("array_api_compat.cupy", reason="CuPy is not installed")
    for name in kernels_of(SOURCE):
        assert type(kernels.kernel(cupy, name)).__name__ == "RawKernel"


# The budget of an update: its launches, and the planes it reads and writes


BUDGET = {"array code": (Library, 99, 244), "kernels": (CudaLibrary, 20, 111)}


@pytest.mark.parametrize(
    ("library", "most_launches", "most_passes"),
    [
        pytest.param(*budget, id=name, marks=[on_the_host] * (name == "kernels"))
        for name, budget in BUDGET.items()
    ],
)
def test_an_update_stays_within_its_budget(rng, library, most_launches, most_passes):
    images = rng.integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    library = library()
    scene, masks = scene_of(library, images, IEMConfig()), library.asarray(centred_square(images, 78))
    calls = library.record(lambda: update(scene, masks))
    assert launches(calls) <= most_launches
    assert plane_passes(calls, 8 * 128 * 128) <= most_passes
    assert sum(call.up + call.down for call in calls) == 0


@pytest.mark.parametrize("library", [Library, pytest.param(CudaLibrary, marks=on_the_host)])
def test_an_ascent_waits_for_nothing_but_which_masks_are_known(rng, library):
    images = scenes.images(rng, 12)
    library = library()
    scene, masks = scene_of(library, images, IEMConfig()), library.asarray(centred_square(images, 78))
    calls = library.record(lambda: ascend(scene, masks))
    waited = [call for call in calls if call.down]
    assert {call.name for call in waited} == {"to_host"}
    assert all(call.down <= 12 for call in waited)
    assert 0 < len(waited) <= 150 / 4
