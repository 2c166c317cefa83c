import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
import scenes
from iem_xp import IEMConfig, memory, solver
from iem_xp.layout import to_colours
from iem_xp.terms import Scene


def scene_of(images, config=None, dtype=None):
    return Scene.of(to_colours(images, dtype), config or IEMConfig())


def plain(scene, masks, iterations):
    """Masks after so many updates, each of them computed."""
    for _ in range(iterations):
        masks = solver.update(scene, masks)
    return masks


# The initial squares


@pytest.mark.parametrize("size", [(128, 128), (128, 171), (24, 20), (5, 40), (1, 1), (300, 200)], ids=str)
@pytest.mark.parametrize("side", [1, 44, 78, 92, 128])
def test_the_initial_square_is_centred_and_scales_with_the_shorter_side(backend, size, side):
    images = backend.asarray(np.zeros((2, *size, 1), dtype=np.uint8))
    masks = backend.to_numpy(solver.centred_square(images, side))
    np.testing.assert_array_equal(masks, [oracle.square(*size, side) == 1] * 2)


def test_at_128_a_side_is_in_pixels():
    square = solver.centred_square(np.zeros((1, 128, 160, 3)), 44)[0]
    assert square.sum() == 44 * 44
    assert square[42:86, 58:102].all()


# The updates


@pytest.mark.parametrize(
    "config",
    [
        IEMConfig(),
        IEMConfig(repeats=3, kernel_size=7, sigma=3.0),
        IEMConfig(repeats=1, kernel_size=21),
        IEMConfig(scale_factor=2, kernel_size=7, sigma=2.5),
        IEMConfig(regularization=0.0),
        IEMConfig(boundary_only=False),
        IEMConfig(smooth=False),
    ],
    ids=["default", "three passes", "one pass", "scale 2", "no diversity", "anywhere", "no smoothing"],
)
def test_an_ascent_is_the_literal_one(rng, config):
    config = IEMConfig(**{**vars(config), "iterations": 40})
    images = scenes.images(rng, 3, 22, 18)
    scene = scene_of(images, config, np.float64)
    result = solver.ascend(scene, solver.centred_square(images, 78))
    for i, image in enumerate(images):
        X = oracle.colours(image)
        expected = oracle.ascend(X, oracle.square(22, 18, 78), config)
        np.testing.assert_array_equal(result.masks[i], expected)
        error = oracle.inpainting_error(X, expected, config)
        assert result.inpainting_error[i] == pytest.approx(error, rel=1e-9)


def test_no_iterations_keep_the_initial_masks(backend, rng):
    images, masks = scenes.images(rng, 2), np.stack([scenes.mask(rng), scenes.mask(rng)])
    scene = scene_of(backend.asarray(images), IEMConfig(iterations=0))
    result = solver.ascend(scene, backend.asarray(masks))
    np.testing.assert_array_equal(backend.to_numpy(result.masks), masks)
    np.testing.assert_array_equal(backend.to_numpy(result.updates), [0, 0])


def test_an_update_is_compiled_once_for_all_configurations_that_do_not_change_it(rng, monkeypatch):
    jax = pytest.importorskip("jax", reason="JAX is not installed")
    traced, update = [], solver.update

    def watch(scene, masks):
        traced.append(masks.shape)
        return update(scene, masks)

    monkeypatch.setattr(solver, "update", watch)
    images, masks = (
        jax.numpy.asarray(array) for array in (scenes.images(rng, 1, 7, 13), np.ones((1, 7, 13)))
    )
    common = {"iterations": 2, "init_sides": (44,), "choose": "dataset"}
    same = {"iterations": 3}, {"init_sides": (78, 92)}, {"choose": "image"}, {"cut": True}, {"colours": 8}
    for other in ({}, *same, {"smooth": False}):
        solver.ascend(scene_of(images, IEMConfig(**{**common, **other})), masks > 0)
    assert len(traced) == 2  # the first, and the one without smoothing


def test_an_ascent_with_colour_marginals_is_the_literal_one_where_updates_are_compiled_too(backend, rng):
    config = IEMConfig(iterations=6, colour_weight=1e-3, colours=9)
    images = scenes.images(rng, 2)
    scene = Scene.of_images(backend.asarray(images), config)
    result = solver.ascend(scene, solver.centred_square(backend.asarray(images), 78), 5)
    codes = backend.to_numpy(scene.palette.codes).reshape(2, 24, 20)
    np.testing.assert_array_equal(backend.to_numpy(result.start), [5, 5])
    for i, (image, code) in enumerate(zip(images, codes, strict=True)):
        code = np.unique(code, return_inverse=True)[1].reshape(code.shape)
        expected = oracle.ascend(oracle.colours(image), oracle.square(24, 20, 78), config, code)
        np.testing.assert_array_equal(backend.to_numpy(result.masks)[i], expected)
        share = oracle.information(expected, code)
        assert backend.to_numpy(result.information)[i] == pytest.approx(share, abs=1e-5)


# Retirement


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_retired_images_have_the_masks_of_all_updates(rng, dtype):
    images = scenes.images(rng, 12)
    start = solver.centred_square(images, 78)
    masks, retired = start, 0
    for iterations in range(1, 64):
        scene = scene_of(images, IEMConfig(iterations=iterations), dtype)
        masks = solver.update(scene, masks)
        result = solver.ascend(scene, start)
        np.testing.assert_array_equal(result.masks, masks, err_msg=f"{iterations} updates")
        retired = max(retired, np.sum(result.updates < iterations))
    assert retired == 12  # or this test would show nothing


@pytest.mark.parametrize("with_prior", [False, True])
def test_retired_images_have_the_masks_of_all_updates_where_colours_count(rng, with_prior):
    images = scenes.images(rng, 10)
    prior = rng.normal(size=(10, 24, 20)).astype(np.float32) if with_prior else None
    start = solver.centred_square(images, 78)
    for iterations in (29, 30, 36):
        config = IEMConfig(iterations=iterations, colour_weight=3e-4, colour_space="lab")
        scene = Scene.of_images(images, config, prior=prior)
        result = solver.ascend(scene, start)
        np.testing.assert_array_equal(result.masks, plain(scene, start, iterations))
        left = [len(set(result.updates.tolist())), np.sum(result.updates < iterations)]
    assert min(left) > 1  # some left the batch, with their colours, before others


@given(
    seed=st.integers(0, 2**32 - 1),
    height=st.integers(1, 14),
    width=st.integers(1, 14),
    iterations=st.integers(0, 70),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_retirement_never_changes_a_mask(seed, height, width, iterations, flags):
    rng = np.random.default_rng(seed)
    config = IEMConfig(iterations=iterations, boundary_only=flags[0], smooth=flags[1])
    images = rng.integers(0, 256, (6, height, width, 2), dtype=np.uint8)
    masks = rng.random((6, height, width)) < 0.5
    scene = scene_of(images, config)
    np.testing.assert_array_equal(solver.ascend(scene, masks).masks, plain(scene, masks, iterations))


class Clockwork:
    """A stand-in for `update`: masks are counters that run into a cycle of known length.

    The first row of a mask is the number of updates behind it, in binary, until it wraps round: from
    `transient + period - 1` it goes back to `transient`. The other rows hold these two numbers.
    """

    BITS = 8

    def __init__(self):
        self.calls = {}

    def masks(self, transients, periods):
        numbers = np.stack([np.zeros_like(transients), transients, periods], axis=1)
        return self._encode(numbers)

    def update(self, scene, masks):
        numbers = masks @ 2 ** np.arange(self.BITS)
        count, transient, period = numbers.T
        count = count + 1
        numbers[:, 0] = np.where(count == transient + period, transient, count)
        for _, *image in numbers.tolist():
            self.calls[tuple(image)] = self.calls.get(tuple(image), 0) + 1
        return self._encode(numbers)

    def _encode(self, numbers):
        return (numbers[:, :, None] >> np.arange(self.BITS)) % 2 == 1


@pytest.fixture
def clockwork(monkeypatch):
    clock = Clockwork()
    monkeypatch.setattr(solver, "update", clock.update)
    return clock


CYCLES = np.array([(t, p) for t in (0, 1, 2, 3, 4, 7, 12, 30) for p in (1, 2, 3, 4, 5, 6, 7, 12, 24)])


def known(transient, period, iterations):
    """Update after which the last mask is known: the first that was compared with an equal one."""
    for step in range(1, iterations):
        for distance in (4, 12):
            due = (iterations - step) % distance == 0 and step > distance
            if due and distance % period == 0 and step - distance >= transient:
                return step
    return iterations


@pytest.mark.parametrize("iterations", [*range(30), 47, 48, 49, 50, 60, 149, 150])
def test_a_cycle_of_any_period_ends_in_the_right_phase(clockwork, iterations):
    transients, periods = CYCLES.T
    masks = clockwork.masks(transients, periods)
    scene = scene_of(np.zeros((len(CYCLES), 3, clockwork.BITS, 1)), IEMConfig(iterations=iterations))
    result = solver.ascend(scene, masks)
    expected = [known(t, p, iterations) for t, p in CYCLES.tolist()]
    np.testing.assert_array_equal(result.updates, expected)
    np.testing.assert_array_equal(result.masks, plain(scene, masks, iterations))


def test_short_cycles_save_updates_and_others_are_computed_to_the_end(clockwork):
    transients, periods = CYCLES.T
    scene = scene_of(np.zeros((len(CYCLES), 3, clockwork.BITS, 1)), IEMConfig(iterations=150))
    updates = solver.ascend(scene, clockwork.masks(transients, periods)).updates
    found = np.isin(periods, [1, 2, 3, 4, 6, 12])
    assert (updates[~found] == 150).all()
    quick = np.isin(periods, [1, 2, 4])
    assert (updates[quick] <= transients[quick] + 4 + 4).all()
    assert (updates[found] <= transients[found] + 12 + 12).all()


@pytest.mark.parametrize(("n", "computed"), [(8, 5), (9, 9)])
def test_images_leave_once_they_are_an_eighth_of_the_batch(clockwork, n, computed):
    # One is known after 5 updates; the others run on, and one of them is known after 9, and leaves as well.
    cycles = np.array([(1, 1), (5, 1)] + [(0, 7)] * (n - 2))
    scene = scene_of(np.zeros((n, 3, clockwork.BITS, 1)), IEMConfig(iterations=33))
    updates = solver.ascend(scene, clockwork.masks(*cycles.T)).updates
    np.testing.assert_array_equal(updates, [5, 9] + [33] * (n - 2))
    assert clockwork.calls == {(1, 1): computed, (5, 1): 9, (0, 7): 33 * (n - 2)}


def test_every_update_is_counted_for_the_image_it_was_computed_for(rng):
    images = scenes.images(rng, 6)
    updates = solver.ascend(scene_of(images), solver.centred_square(images, 78)).updates
    assert len(set(updates.tolist())) > 1
    alone = [solver.ascend(scene_of(image[None]), solver.centred_square(image[None], 78)) for image in images]
    np.testing.assert_array_equal(updates, [ascent.updates[0] for ascent in alone])


# Batches


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_mask_does_not_depend_on_its_batch(monkeypatch, rng, size):
    images = scenes.images(rng, 7)
    config = IEMConfig(iterations=60)
    together = solver.solve(images, (44, 78), config)
    monkeypatch.setattr(memory, "useful_size", lambda *_, **__: size)
    apart = solver.solve(images, (44, 78), config)
    for one, other in zip(together, apart, strict=True):
        np.testing.assert_array_equal(one.masks, other.masks)
        np.testing.assert_array_equal(one.updates, other.updates)
        np.testing.assert_allclose(one.inpainting_error, other.inpainting_error, rtol=1e-6)


def test_the_order_of_the_images_is_kept(rng):
    images = scenes.images(rng, 6)
    scene, masks = scene_of(images), solver.centred_square(images, 78)
    order = rng.permutation(6)
    one, other = solver.ascend(scene, masks), solver.ascend(scene_of(images[order]), masks)
    np.testing.assert_array_equal(one.masks[order], other.masks)
    np.testing.assert_array_equal(one.updates[order], other.updates)


def test_given_masks_go_with_their_images_through_the_batches(monkeypatch, rng):
    images, masks = scenes.images(rng, 5), np.stack([scenes.mask(rng) for _ in range(5)])
    monkeypatch.setattr(memory, "useful_size", lambda *_, **__: 2)
    (ascent,) = solver.solve(images, [masks], IEMConfig(iterations=0))
    np.testing.assert_array_equal(ascent.masks, masks)


def test_a_start_is_the_side_of_a_square_or_a_mask(rng):
    images, masks = scenes.images(rng, 3), np.stack([scenes.mask(rng) for _ in range(3)])
    square, given = solver.solve(images, [78, masks], IEMConfig(iterations=0))
    np.testing.assert_array_equal(square.masks, solver.centred_square(images, 78))
    np.testing.assert_array_equal(given.masks, masks)
