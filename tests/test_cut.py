"""The cut along the edges, beside an exact minimum cut, in array code and compiled."""

import numpy as np
import pytest
from scipy.ndimage import maximum_filter
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_flow

import oracle
import scenes
from iem_xp import IEMConfig, cut, terms
from iem_xp.fused import cutting
from iem_xp.solver import centred_square

CONFIG = IEMConfig(cut=True, colour_space="lab")
ENGINES = {"array": cut.minimise, "fused": cutting.minimise}
SIZES = [(24, 20), (17, 40), (1, 30), (30, 1), (1, 1), (2, 2), (3, 64)]


def scene_of(images, config=CONFIG):
    return terms.Scene.of_images(images, config)


def cut_by(minimise, images, masks, prior=None, config=CONFIG):
    """Masks of all images, one by one as the compiled method takes them."""
    result = []
    for i in range(len(images)):
        scene = scene_of(images[i : i + 1], config)
        known = None if prior is None else prior[i : i + 1]
        result.append(cut.cut(scene.colours, scene.palette, known, masks[i : i + 1], minimise))
    return np.concatenate(result)


def disc(height, width, radius, top, left):
    rows, columns = np.mgrid[:height, :width]
    return (rows - top) ** 2 + (columns - left) ** 2 <= radius**2


def painted(rng, mask, noise=4.0):
    """An image (1, H, W, 3) whose foreground has one colour and whose background another."""
    paint = np.array([(60, 70, 80), (190, 120, 60)])[mask.astype(int)]
    return np.clip(paint + rng.normal(0, noise, paint.shape), 0, 255).astype(np.uint8)[None]


def iou(one, other):
    return np.sum(one & other) / np.sum(one | other)


# What is minimised


def pairs(energy):
    """Pixels and their neighbours, with what it costs to part them."""
    n = energy.gain.shape[1]
    for k, offset in enumerate(energy.offsets):
        here = np.flatnonzero(energy.edges[0, k])
        assert (here + offset < n).all()
        yield here, here + offset, energy.edges[0, k, here].astype(float)


def value(energy, mask):
    """Energy of a binary mask (P,)."""
    length = sum((weight * (mask[p] != mask[q])).sum() for p, q, weight in pairs(energy))
    return length - energy.gain[0].astype(float)[mask].sum()


def optimum(energy):
    """The least energy of any mask within the bounds, as a minimum cut in whole units of 1 / 1,000."""
    n, unit, forever = energy.gain.shape[1], 1000, 10**8
    gain = np.rint(unit * energy.gain[0].astype(float)).astype(int)
    source, sink, each = n, n + 1, np.arange(n)
    to_pixel = np.maximum(gain, 0) + forever * (energy.least[0] == 1)
    from_pixel = np.maximum(-gain, 0) + forever * (energy.most[0] == 0)
    edges = [(np.full(n, source), each, to_pixel), (each, np.full(n, sink), from_pixel)]
    for p, q, weight in pairs(energy):
        whole = np.rint(unit * weight).astype(int)
        edges += [(p, q, whole), (q, p, whole)]
    row, column, capacity = (np.concatenate(parts) for parts in zip(*edges, strict=True))
    graph = csr_array((capacity.astype(np.int32), (row, column)), shape=(n + 2, n + 2))
    return (maximum_flow(graph, source, sink).flow_value - np.maximum(gain, 0).sum()) / unit


@pytest.mark.parametrize("minimise", ENGINES.values(), ids=ENGINES)
def test_the_energy_is_almost_the_least_that_any_mask_has(rng, minimise):
    seen = []

    def watch(energy, start):
        relaxed = minimise(energy, start)
        seen.append((energy, start[0] > 0.5, relaxed[0] > 0.5))
        return relaxed

    for _ in range(3):
        images = scenes.images(rng, 1, 30, 24)
        cut_by(watch, images, centred_square(images, 70))
    assert len(seen) == 3 * cut.ROUNDS
    for energy, start, found in seen:
        assert (energy.least[0] <= found).all()
        assert (found <= energy.most[0]).all()
        least, before, after = optimum(energy), value(energy, start), value(energy, found)
        assert least - 0.5 <= after <= least + 0.005 * max(before - least, abs(least))
    assert max(value(energy, start) - optimum(energy) for energy, start, _ in seen) > 100


def test_what_it_costs_to_part_neighbours_follows_from_their_colours(rng):
    images = scenes.images(rng, 2, 9, 7)
    X = scene_of(images).colours
    weights = cut._contrast(X).reshape(2, 4, 9, 7)
    for x, found in zip(X.astype(float), weights, strict=True):
        steps = [(0, 1), (1, 0), (1, 1), (1, -1)]
        squares = {}
        for k, (down, right) in enumerate(steps):
            for i, j in np.ndindex(9, 7):
                if i + down < 9 and 0 <= j + right < 7:
                    squares[k, i, j] = np.sum((x[:, i, j] - x[:, i + down, j + right]) ** 2)
        mean, expected = np.mean(list(squares.values())), np.zeros((4, 9, 7))
        for (k, i, j), square in squares.items():
            expected[k, i, j] = np.exp(-square / (2 * mean)) / np.hypot(*steps[k])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)


# What becomes of masks


@pytest.mark.parametrize("minimise", ENGINES.values(), ids=ENGINES)
def test_a_mask_that_is_off_by_a_few_pixels_snaps_to_the_edge(rng, minimise):
    truth = disc(64, 80, 18, 32, 40)
    images = painted(rng, truth)
    for start in (disc(64, 80, 21, 33, 42), disc(64, 80, 16, 31, 38)):
        assert iou(start, truth) < 0.85
        (found,) = cut_by(minimise, images, start[None])
        assert iou(found, truth) > 0.99


@pytest.mark.parametrize("minimise", ENGINES.values(), ids=ENGINES)
def test_nothing_changes_farther_from_the_boundary_than_the_band_reaches(rng, minimise):
    images = rng.integers(0, 256, (1, 128, 150, 3), dtype=np.uint8)
    mask = np.zeros((1, 128, 150), dtype=bool)
    mask[0, 64 - 40 : 64 + 40, 75 - 40 : 75 + 40] = True
    seen = []
    (found,) = cut_by(lambda energy, start: seen.append(energy) or minimise(energy, start), images, mask)
    least, most = (plane.reshape(128, 150) for plane in (seen[0].least, seen[0].most))
    inner, outer = np.zeros((2, 128, 150))
    inner[64 - 40 + 8 : 64 + 40 - 8, 75 - 40 + 8 : 75 + 40 - 8] = 1
    outer[64 - 40 - 14 : 64 + 40 + 14, 75 - 40 - 14 : 75 + 40 + 14] = 1
    np.testing.assert_array_equal(least, inner)
    np.testing.assert_array_equal(most, outer)
    once = minimise(seen[0], mask.reshape(1, -1).astype(np.float32)).reshape(128, 150) > 0.5
    assert (once[inner == 1]).all()
    assert not once[outer == 0].any()
    assert (once != mask[0]).any()
    assert 0 < found.mean() < 1


@pytest.mark.parametrize(("side", "reach"), [(128, (8, 14)), (64, (4, 7)), (16, (1, 2)), (3, (1, 1))])
def test_the_band_scales_with_the_image(side, reach):
    mask = np.zeros((1, side, 3 * side), dtype=bool)
    mask[:, :, : side + side // 2] = True
    least, most = (plane[0].sum(1) for plane in cut._band(mask, np.float32))
    assert (least == side + side // 2 - reach[0]).all()
    assert (most == side + side // 2 + reach[1]).all()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_a_band_holds_the_pixels_of_a_square_around_each_of_the_mask(backend, rng, size):
    masks = rng.random((2, *size)) < 0.05
    for reach in (1, 2, 3, 14):
        expected = [maximum_filter(mask, 2 * reach + 1, mode="constant") for mask in masks]
        np.testing.assert_array_equal(backend.to_numpy(cut._widen(backend.asarray(masks), reach)), expected)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("minimise", ENGINES.values(), ids=ENGINES)
def test_empty_and_full_masks_stay_and_no_region_vanishes(rng, size, minimise):
    images = scenes.images(rng, 3, *size)
    masks = np.stack([np.zeros(size, dtype=bool), np.ones(size, dtype=bool), np.zeros(size, dtype=bool)])
    masks[2, size[0] // 2, size[1] // 2] = True  # a lone pixel, which costs more than it gains
    found = cut_by(minimise, images, masks)
    np.testing.assert_array_equal(found[:2], masks[:2])
    assert found[2].any()
    assert found[2].all() == masks[2].all()


@pytest.mark.parametrize("minimise", ENGINES.values(), ids=ENGINES)
def test_a_constant_image_is_cut_without_a_warning(minimise):
    images = np.full((1, 20, 24, 3), 77, dtype=np.uint8)
    (found,) = cut_by(minimise, images, centred_square(images, 78))
    assert 0 < found.mean() < 1


def test_log_odds_from_elsewhere_move_the_cut(rng):
    images = rng.integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)  # whose colours say nothing
    start, wanted = disc(64, 64, 16, 32, 32)[None], disc(64, 64, 18, 32, 34)[None]
    prior = np.where(wanted, 20, -20).astype(np.float32)
    assert iou(cut_by(cut.minimise, images, start, prior), wanted) > 0.97
    assert iou(cut_by(cut.minimise, images, start), wanted) < 0.9


# Libraries and engines


def test_every_library_cuts_alike(backend, rng, monkeypatch):
    monkeypatch.setattr(cut, "STEPS", 8)
    images = scenes.images(rng, 2)
    masks = centred_square(images, 70)
    prior = rng.normal(size=masks.shape).astype(np.float32)
    results = []
    for xp in (lambda array: array, backend.asarray):
        scene = scene_of(xp(images))
        results.append(cut.cut(scene.colours, scene.palette, xp(prior), xp(masks)))
    assert (results[0] != masks).any()
    np.testing.assert_array_equal(backend.to_numpy(results[1]), results[0])


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_the_compiled_method_takes_the_same_steps(rng, size):
    images, masks = scenes.images(rng, 1, *size), scenes.mask(rng, *size)[None]
    seen = []

    def both(energy, start):
        ours, theirs = cutting.minimise(energy, start), cut.minimise(energy, start)
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
        assert ours.dtype == np.float32
        seen.append(np.abs(theirs - start).max())
        return theirs

    scene = scene_of(images)
    cut.cut(scene.colours, scene.palette, None, masks, both)
    assert len(seen) == cut.ROUNDS
    if min(size) > 2:
        assert max(seen) > 0.5


def energy_of(images, mask):
    """What the first round minimises, and its start."""
    scene, seen = scene_of(images), []
    cut.cut(scene.colours, scene.palette, None, mask[None], lambda *given: seen.append(given) or given[1])
    return seen[0]


def test_the_compiled_method_looks_only_at_cache_lines_near_free_pixels_and_changes_nothing_else(rng):
    mask = np.zeros((64, 160), dtype=bool)
    mask[6:58, 10:130] = True
    energy, start = energy_of(scenes.images(rng, 1, 64, 160), mask)
    free, kept = (energy.least < energy.most)[0], start.copy()
    expected = cutting.minimise(energy, start)
    near = np.pad(free.reshape(64, 160), 17)
    near = sum(near[i : i + 64, j : j + 160] for i in range(35) for j in range(35)).ravel() > 0
    assert (~near).sum() > 1000
    for row in (energy.gain[0], *energy.edges[0]):
        row[~near] = np.nan
    found = cutting.minimise(energy, start)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[0][~free], start[0][~free])
    np.testing.assert_array_equal(start, kept)
    assert (np.abs(found - start)[0][free] > 0.5).any()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_wherever_a_few_pixels_are_free_the_compiled_method_takes_the_same_steps_within_its_arrays(
    rng, monkeypatch, size
):
    given, pixels = [], size[0] * size[1]
    energy, start = energy_of(scenes.images(rng, 1, *size), scenes.mask(rng, *size))
    monkeypatch.setattr(cutting, "run", lambda *arrays, run=cutting.run: given.append(arrays) or run(*arrays))
    for places in (0, pixels - 1, *rng.integers(pixels, size=(30, 2))):
        free = np.isin(np.arange(pixels), places)[None]
        few = energy._replace(
            least=np.where(free, 0, start), most=np.where(free, np.float32(1), start), steps=20
        )
        found = cutting.minimise(few, start)
        np.testing.assert_allclose(found, cut.minimise(few, start), atol=2e-4)
    for runs, relaxed, *_ in given:
        assert runs[0] >= max(energy.offsets)
        assert runs[-1] + max(energy.offsets) <= relaxed.size


@pytest.mark.parametrize("minimise", ENGINES.values(), ids=ENGINES)
def test_where_nothing_may_change_nothing_does(rng, minimise):
    mask = scenes.mask(rng, 24, 20)
    energy, start = energy_of(scenes.images(rng, 1), mask)
    found = minimise(energy._replace(least=start, most=start), start)
    np.testing.assert_array_equal(found, start)


@pytest.mark.parametrize(("size", "steps"), [((24, 400), 100), ((128, 130), 100), ((320, 257), 201)], ids=str)
def test_a_larger_image_takes_more_steps(rng, size, steps):
    energy, _ = energy_of(scenes.images(rng, 1, *size), disc(*size, 10, 12, 60))
    assert energy.steps == steps


def test_going_farther_than_a_step_finds_saves_steps(rng, monkeypatch):
    given = [energy_of(scenes.images(rng, 1, 64, 48), disc(64, 48, 15, 30, 22)) for _ in range(3)]

    def excess(over, steps):
        monkeypatch.setattr(cut, "OVER", over)
        masks = [cut.minimise(energy._replace(steps=steps), start)[0] > 0.5 for energy, start in given]
        return sum(
            value(energy, mask) - optimum(energy) for (energy, _), mask in zip(given, masks, strict=True)
        )

    assert excess(cut.OVER, 30) < excess(1, 40)


def test_oracle_and_method_agree_on_what_colours_gain(rng):
    images, mask = scenes.images(rng, 1), scenes.mask(rng)
    energy, _ = energy_of(images, mask)
    codes = np.unique(scene_of(images).palette.codes, return_inverse=True)[1].reshape(24, 20)
    expected = oracle.log_ratio(mask.astype(float), codes)[codes]
    np.testing.assert_allclose(energy.gain.reshape(24, 20), expected, rtol=1e-4, atol=1e-5)
