"""The compiled engine: the array engine's masks, and what is its own."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numba
import numpy as np
import pytest

import oracle
import scenes
from iem_xp import IEMConfig, fused, projection, solver
from iem_xp.fused import ascent, compiling, filtering, words
from iem_xp.fused.tables import tables_for
from iem_xp.images import fit_image, read_image
from iem_xp.layout import to_colours

CONFIGS = {
    "default": IEMConfig(),
    "three passes": IEMConfig(repeats=3, kernel_size=7, sigma=3.0),
    "one pass": IEMConfig(repeats=1, kernel_size=21),
    "wide": IEMConfig(repeats=1, kernel_size=45, sigma=30.0),
    "no filter": IEMConfig(kernel_size=1),
    "scale 2": IEMConfig(scale_factor=2, kernel_size=7, sigma=2.5),
    "scale 3": IEMConfig(scale_factor=3, kernel_size=3),
    "no diversity": IEMConfig(regularization=0.0),
    "larger eps": IEMConfig(epsilon=1e-4),
    "anywhere": IEMConfig(boundary_only=False),
    "no smoothing": IEMConfig(smooth=False),
    "no update": IEMConfig(iterations=0),
}


@pytest.fixture(scope="module")
def photographs():
    """The sample photographs' central squares, uint8 (6, 128, 128, 3)."""
    files = sorted((resources.files("iem_xp_cli") / "samples").glob("*.jpg"))
    return np.stack([fit_image(read_image(file).pixels, 128, "crop") for file in files])


def both(images, starts, config):
    """Ascents of the two engines."""
    return fused.solve(images, starts, config), solver.solve(images, starts, config)


def callable_from_python(function):
    """A compiled function, which only compiled ones can call, for a test to call."""
    names = ", ".join(inspect.signature(function.py_func).parameters)
    scope = {"function": function}
    exec(f"def call({names}): return function({names})", scope)
    return numba.njit(scope["call"])


# The masks


def test_photographs_get_the_array_engine_s_masks(photographs):
    starts = [solver.centred_square(photographs, side) for side in (44, 78, 92)]
    for ours, theirs in zip(*both(photographs, starts, IEMConfig()), strict=True):
        np.testing.assert_array_equal(ours.masks, theirs.masks)
        np.testing.assert_allclose(ours.inpainting_error, theirs.inpainting_error, rtol=1e-5)
        assert (ours.updates <= theirs.updates).all()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_every_configuration_gets_the_array_engine_s_masks(rng, config):
    images = scenes.images(rng, 4, 37, 70)
    (ours,), (theirs,) = both(images, [solver.centred_square(images, 78)], config)
    np.testing.assert_array_equal(ours.masks, theirs.masks)
    np.testing.assert_allclose(ours.inpainting_error, theirs.inpainting_error, rtol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (2, 3), (5, 64), (33, 65), (129, 20)], ids=str)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_every_size_and_number_of_channels_gets_the_array_engine_s_masks(rng, size, channels):
    # A few updates: after many, one rounding may have sent a mask elsewhere.
    images = scenes.images(rng, 4, *size, channels)
    start = np.stack([scenes.mask(rng, *size) for _ in images])
    (ours,), (theirs,) = both(images, [start], IEMConfig(iterations=3))
    np.testing.assert_array_equal(ours.masks, theirs.masks)
    np.testing.assert_allclose(ours.inpainting_error, theirs.inpainting_error, rtol=1e-5, atol=1e-7)


def test_one_update_of_any_mask_is_the_literal_one(rng):
    images = scenes.images(rng, 20, 26, 31)
    start = np.stack([scenes.mask(rng, 26, 31) for _ in images])
    config = IEMConfig(iterations=1)
    (ours,) = fused.solve(images, [start], config)
    for image, mask, found in zip(images, start.astype(float), ours.masks, strict=True):
        np.testing.assert_array_equal(found, oracle.update(oracle.colours(image), mask, config) == 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floating_images_get_the_array_engine_s_masks(rng, dtype):
    images = (scenes.images(rng, 3) / 255).astype(dtype)
    (ours,), (theirs,) = both(images, [solver.centred_square(images, 78)], IEMConfig())
    np.testing.assert_array_equal(ours.masks, theirs.masks)


def test_a_constant_image_keeps_its_mask():
    images = np.full((1, 40, 40, 3), 77, dtype=np.uint8)
    start = solver.centred_square(images, 78)
    (ours,) = fused.solve(images, [start], IEMConfig(smooth=False))
    np.testing.assert_array_equal(ours.masks, start)


@pytest.mark.parametrize("value", [False, True], ids=["empty", "full"])
def test_an_empty_region_stays_empty_and_its_error_is_0(rng, value):
    images = scenes.images(rng, 1)
    start = np.full((1, 24, 20), value)
    (ours,) = fused.solve(images, [start], IEMConfig())
    np.testing.assert_array_equal(ours.masks, start)
    assert ours.inpainting_error[0] == 0


def test_a_mask_that_repeats_is_retired_with_the_mask_that_all_updates_reach(photographs):
    start = solver.centred_square(photographs, 78)
    for iterations in (149, 150):
        config = IEMConfig(iterations=iterations)
        (ours,) = fused.solve(photographs, [start], config)
        assert (ours.updates < iterations).all()
        masks = start
        scene = solver.Scene.of(to_colours(photographs), config)
        for _ in range(iterations):
            masks = solver.update(scene, masks)
        np.testing.assert_array_equal(ours.masks, masks)


@pytest.mark.parametrize("period", [1, 2, 3, 5, 7])
def test_a_cycle_of_any_period_is_found_where_its_last_mask_is_the_final_one(period):
    is_final = callable_from_python(ascent._is_final)
    history = np.array([100, 101, *(k % period for k in range(60))], dtype=np.uint64)
    retired = [step for step in range(len(history)) if is_final(history, step, 40)]
    assert retired[0] == next(s for s in range(2 + period, 41) if (40 - s) % period == 0)


def test_no_index_is_out_of_bounds(tmp_path):
    """In sizes and with filters that make bands, rounded up, long beside the rows; checked by Numba."""
    code = """if True:
        import itertools
        from dataclasses import replace
        import numpy as np
        from iem_xp import IEMConfig, fused
        from iem_xp import cut
        cut.STEPS = 2
        rng = np.random.default_rng(20210621)
        filters = [(1, 1, 1), (3, 1, 1), (7, 2, 1), (11, 2, 1), (45, 1, 1), (3, 1, 3), (1, 1, 200)]
        widths = (1, 2, 41, 42, 44, 46, 47, 50, 64, 105)
        for (size, repeats, scale), height, width in itertools.product(filters, (1, 2, 17), widths):
            config = IEMConfig(2, kernel_size=size, sigma=1000.0, repeats=repeats, scale_factor=scale)
            image = rng.random((1, height, width, 2), dtype=np.float32)
            fused.solve(image, [rng.random((1, height, width)) < 0.5], config)
        best = replace(IEMConfig.preset("best"), iterations=2, colour_space="rgb", colours=256)
        for height, width in itertools.product((1, 2, 17), widths):
            image = rng.random((1, height, width, 2), dtype=np.float32)
            for config in (best, replace(best, colour_weight=0)):
                fused.solve(image, [rng.random((1, height, width)) < 0.5], config, prior=image[..., 0])
    """
    env = {**os.environ, "NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# Colour marginals, the choice for each image, and the cut

BEST = IEMConfig.preset("best")
BEYOND = {
    "best": BEST,
    "in RGB": replace(BEST, colour_space="rgb"),
    "a start for all": replace(BEST, choose="dataset"),
    "by error": replace(BEST, choose="image"),
    "marginals alone": IEMConfig(colour_weight=1e-3, colours=7, iterations=12),
    "information alone": IEMConfig(choose="information", iterations=12),
    "cut alone": IEMConfig(cut=True, iterations=12),
    "CIELAB alone": IEMConfig(colour_space="lab", iterations=12),
    "most colours": replace(BEST, colours=256),
}


def assert_same_ascents(ours, theirs):
    """Ascents of two engines are the same, but for what float32 rounds."""
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)
        np.testing.assert_array_equal(one.start, other.start)
        np.testing.assert_allclose(one.inpainting_error, other.inpainting_error, rtol=1e-5)
        np.testing.assert_allclose(one.information, other.information, atol=2e-6)
        assert one.information.dtype == other.information.dtype == np.float32


@pytest.mark.parametrize("with_prior", [False, True], ids=["", "prior"])
@pytest.mark.parametrize("config", BEYOND.values(), ids=BEYOND)
def test_everything_beyond_the_paper_is_that_of_the_array_engine(rng, monkeypatch, config, with_prior):
    monkeypatch.setattr("iem_xp.cut.STEPS", 40)
    images = scenes.images(rng, 3, 31, 44)
    wanted = np.where(np.arange(44) < 20, -6, 6)
    prior = (rng.normal(0, 2, (3, 31, 44)) + wanted).astype(np.float32) if with_prior else None
    starts = [solver.centred_square(images, side) for side in (48, 90)]
    ours = fused.solve(images, starts, config, prior=prior)
    theirs = solver.solve(images, starts, config, prior=prior)
    assert len(ours) == (2 if config.choose == "dataset" else 1)
    assert_same_ascents(ours, theirs)
    if with_prior and (config.cut or config.colour_weight):
        assert any(
            (with_.masks != without.masks).any()
            for with_, without in zip(ours, fused.solve(images, starts, config), strict=True)
        )


@pytest.mark.parametrize(
    ("size", "channels"),
    [((1, 1), 3), ((1, 40), 3), ((40, 1), 3), ((2, 3), 3), ((33, 65), 1), ((20, 29), 5)],
    ids=str,
)
def test_the_best_masks_of_every_size_are_those_of_the_array_engine(rng, monkeypatch, size, channels):
    monkeypatch.setattr("iem_xp.cut.STEPS", 40)
    config = replace(BEST, colour_space="lab" if channels == 3 else "rgb", iterations=3)
    images = scenes.images(rng, 2, *size, channels)
    starts = [np.stack([scenes.mask(rng, *size) for _ in images]) for _ in range(2)]
    assert_same_ascents(fused.solve(images, starts, config), solver.solve(images, starts, config))


def test_photographs_get_the_array_engine_s_best_masks(photographs):
    some = photographs[:2]
    starts = [solver.centred_square(some, side) for side in BEST.init_sides]
    assert_same_ascents(fused.solve(some, starts, BEST), solver.solve(some, starts, BEST))


def test_one_update_with_colour_marginals_is_the_literal_one(rng):
    images = scenes.images(rng, 10, 26, 31)
    start = np.stack([scenes.mask(rng, 26, 31) for _ in images])
    config = IEMConfig(iterations=1, colour_weight=1e-3, colours=9)
    (ours,) = fused.solve(images, [start], config)
    codes = solver.Scene.of_images(images, config).palette.codes.reshape(start.shape)
    for image, mask, code, found in zip(images, start.astype(float), codes, ours.masks, strict=True):
        code = np.unique(code, return_inverse=True)[1].reshape(code.shape)
        np.testing.assert_array_equal(found, oracle.update(oracle.colours(image), mask, config, code) == 1)


def test_one_searcher_takes_nothing_from_one_image_to_the_next(rng):
    images = scenes.images(rng, 3)
    starts = [solver.centred_square(images, 60)]
    together = fused.solve(images, starts, BEST, workers=1)
    alone = [fused.solve(images[i : i + 1], [starts[0][i : i + 1]], BEST)[0] for i in range(3)]
    for i, one in enumerate(alone):
        for of_one, of_all in zip(one, together[0], strict=True):
            np.testing.assert_array_equal(of_one[0], of_all[i])


# The threads, and what is handed over


def test_the_number_of_threads_changes_nothing(photographs):
    starts = [solver.centred_square(photographs, side) for side in (44, 92)]
    one, many = (fused.solve(photographs, starts, IEMConfig(), workers) for workers in (1, 5))
    for a, b in zip(one, many, strict=True):
        np.testing.assert_array_equal(a.masks, b.masks)
        np.testing.assert_array_equal(a.inpainting_error, b.inpainting_error)


def test_an_image_is_segmented_as_if_it_were_alone(photographs):
    start = solver.centred_square(photographs, 78)
    (together,) = fused.solve(photographs, [start], IEMConfig(), workers=1)
    for i in (0, len(photographs) - 1):
        (alone,) = fused.solve(photographs[i : i + 1], [start[i : i + 1]], IEMConfig())
        np.testing.assert_array_equal(alone.masks[0], together.masks[i])
        assert alone.inpainting_error[0] == together.inpainting_error[i]


def test_nothing_is_written_to_what_is_handed_over(rng):
    images = scenes.images(rng, 2)
    start = np.array(solver.centred_square(images, 78))
    kept = images.copy(), start.copy()
    images.flags.writeable = start.flags.writeable = False
    fused.solve(images, [start], IEMConfig(iterations=3))
    np.testing.assert_array_equal(images, kept[0])
    np.testing.assert_array_equal(start, kept[1])


def test_no_images_have_no_masks():
    images = np.zeros((0, 20, 20, 3), dtype=np.uint8)
    (ours,) = fused.solve(images, [np.zeros((0, 20, 20), dtype=bool)], IEMConfig())
    assert ours.masks.shape == (0, 20, 20)
    assert ours.inpainting_error.shape == ours.updates.shape == (0,)


def test_a_filter_of_weights_too_small_is_refused():
    for config in (IEMConfig(), IEMConfig(sigma=2.5), IEMConfig(kernel_size=31), IEMConfig(repeats=5)):
        assert fused.find_limit(config) is None
    assert "weights below 1e-06" in fused.find_limit(IEMConfig(sigma=2.5, epsilon=1e-12))
    assert "kernel_size 11, sigma 1" in fused.find_limit(IEMConfig(sigma=1.0))


@pytest.mark.parametrize("field", [{"epsilon": 1e25}, {"iterations": 10**9}], ids=str)
def test_numbers_beyond_what_it_computes_with_are_refused(field):
    ((name, _),) = field.items()
    assert name in fused.find_limit(IEMConfig(**field))


# The sums, and the bits


def moved(images, config, steps, rng):
    """State of an image after random changes of its mask: planes, mask, tables and rows."""
    channels, height, width = images.shape[3], *images.shape[1:3]
    tables = tables_for(height, width, config)
    workspace = ascent.Workspace(channels, height, width, tables, config)
    workspace.ascend(to_colours(images)[0], np.zeros((1, height, width), dtype=bool))
    planes, state, marginals, rows = (
        getattr(workspace, f"_{name}") for name in ("planes", "mask", "marginals", "rows")
    )
    move = callable_from_python(ascent._move)
    mask = words.unpack(state.words, width)
    for _ in range(steps):
        mask = mask ^ (rng.random(mask.shape) < 0.02)
        state.target[:] = words.pack(mask)
        move(planes, state, marginals, tables, rows)
    return mask, planes, state, tables, rows


@pytest.mark.parametrize("config", [CONFIGS["default"], CONFIGS["scale 2"]], ids=["default", "scale 2"])
def test_after_10_000_updates_the_sums_are_exactly_those_of_the_mask(rng, config):
    images = scenes.images(rng, 1, 30, 40)
    mask, planes, state, tables, rows = moved(
        images, IEMConfig(**{**vars(config), "iterations": 0}), 10_000, rng
    )
    np.testing.assert_array_equal(state.pixels[: mask.size].reshape(mask.shape), mask)
    kept = [array.copy() for array in (planes.first, planes.other)]
    callable_from_python(filtering.fill)(planes, state.pixels, tables, rows)
    n = planes.stride
    for before, after in zip(kept, (planes.first, planes.other), strict=True):
        for c in range(4):
            np.testing.assert_array_equal(*(a[c * n : c * n + mask.size] for a in (before, after)))
    colours = oracle.colours(images[0])
    np.testing.assert_allclose(state.sums, [*(colours * mask).sum((1, 2)), mask.sum()], rtol=1e-6)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_sums_are_the_filter_s_and_exactly_0_without_support(rng, config):
    images = scenes.images(rng, 1, 70, 90)
    _, planes, state, tables, rows = moved(images, IEMConfig(**{**vars(config), "iterations": 0}), 0, rng)
    mask = np.zeros((70, 90), dtype=bool)
    mask[10:31, 40:66] = True
    state.pixels[: mask.size] = mask.ravel()
    callable_from_python(filtering.fill)(planes, state.pixels, tables, rows)
    other, whole = (
        sums.reshape(4, -1)[:, : mask.size].reshape(4, 70, 90) for sums in (planes.other, planes.whole)
    )
    foreground = np.where(mask, whole - other, other)
    ones = np.concatenate([oracle.colours(images[0]), np.ones((1, 70, 90))])
    for sums, region in ((foreground, mask), (whole - foreground, ~mask)):
        exact = oracle.K(ones * region, config)
        np.testing.assert_allclose(sums / 2**30, exact, atol=2e-7)
        np.testing.assert_array_equal(sums[3] == 0, exact[3] == 0)


@pytest.mark.parametrize("size", [(1, 1), (3, 63), (4, 64), (5, 65), (20, 130)], ids=str)
def test_bits_give_the_boundary_and_the_smoothing_of_masks(rng, size):
    find_boundary, smooth = map(callable_from_python, (words.find_boundary, words.smooth))
    inside, border = words.pack(np.ones(size, dtype=bool)), words.border(*size)
    for density in (0.1, 0.5, 0.9):
        mask = rng.random(size) < density
        packed, out = words.pack(mask), words.blank(*size)
        np.testing.assert_array_equal(words.unpack(packed, size[1]), mask)
        find_boundary(packed, border, inside, out)
        np.testing.assert_array_equal(words.unpack(out, size[1]), projection.boundary(mask[None])[0])
        smooth(packed, inside, words.blank(*size), words.blank(*size))
        np.testing.assert_array_equal(words.unpack(packed, size[1]), projection.smooth(mask[None])[0])


# Compiling


def test_what_was_compiled_is_kept_for_the_next_process():
    fused.start()
    assert fused.is_compiled()
    code = (
        "from iem_xp import fused; from iem_xp.fused.ascent import ascend; fused.start();"
        "assert ascend.stats.cache_hits and not ascend.stats.cache_misses"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_where_no_folder_can_be_written_it_is_compiled_all_the_same(monkeypatch):
    def no_folder(function):
        raise RuntimeError("cannot cache function: no locator available for file")

    monkeypatch.setattr(compiling, "_Cache", no_folder)
    compiled = compiling.compiled_once(twice)
    assert compiled(21) == 42
    monkeypatch.setattr(ascent, "ascend", compiled)
    assert not fused.is_compiled()


def twice(number):
    return 2 * number


def test_what_is_kept_and_cut_short_is_compiled_anew(monkeypatch, tmp_path):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    assert compiling.compiled_once(twice)(21) == 42
    for kind in ("nbi", "nbc"):
        (file,) = tmp_path.rglob(f"*.{kind}")
        file.write_bytes(file.read_bytes()[:-20])
        anew, kept = (compiling.compiled_once(twice) for _ in range(2))
        assert anew(21) == kept(21) == 42
        assert anew.stats.cache_misses
        assert kept.stats.cache_hits


def test_where_what_was_compiled_does_not_fit_it_is_not_kept(monkeypatch, tmp_path):
    def full(self, name, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile._save_data", full)
    assert compiling.compiled_once(twice)(21) == 42
    assert not list(tmp_path.rglob("*.nbc"))


def test_what_was_compiled_from_other_sources_does_not_count(monkeypatch, tmp_path):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    for sources in ("these", "others"):
        monkeypatch.setattr(compiling, "_fingerprint", lambda sources=sources: sources)
        compiled = compiling.compiled_once(twice)
        assert not compiling.is_kept(compiled)
        assert compiled(21) == 42
        assert compiled.stats.cache_misses
        assert compiling.is_kept(compiling.compiled_once(twice))


def test_what_was_compiled_and_then_lost_does_not_count(monkeypatch, tmp_path):
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path))
    assert compiling.compiled_once(twice)(21) == 42
    (file,) = tmp_path.rglob("*.nbc")
    file.unlink()
    assert not compiling.is_kept(compiling.compiled_once(twice))
    (file,) = tmp_path.rglob("*.nbi")
    file.write_bytes(b"no index")
    assert not compiling.is_kept(compiling.compiled_once(twice))


def test_the_fingerprint_is_that_of_all_sources(monkeypatch, tmp_path):
    engine = tmp_path / "fused"
    engine.mkdir()
    monkeypatch.setattr(compiling, "__file__", str(engine / "compiling.py"))
    for name in compiling._COMPILED_IN:
        (tmp_path / f"{name}.py").write_text("GAMMA = 1")
    found = set()
    for file in (engine / "terms.py", engine / "words.py", tmp_path / "cut.py", tmp_path / "marginals.py"):
        for content in ("psi = 1", "psi = 2"):
            file.write_text(content)
            compiling._fingerprint.cache_clear()
            found.add(compiling._fingerprint())
    compiling._fingerprint.cache_clear()
    assert len(found) == 8


def test_the_numbers_of_the_core_that_are_compiled_in_are_known(monkeypatch):
    sources = [path.read_text() for path in Path(compiling.__file__).parent.glob("*.py")]
    imported = {
        module
        for source in sources
        for module, names in re.findall(r"^from iem_xp\.(\w+) import (.*)$", source, re.M)
        if re.search(r"\b[A-Z_]{2,}\b", names)
    }
    assert imported == set(compiling._COMPILED_IN)
