import numpy as np
import pytest

from iem_xp_pixels.features import pixel_features
from iem_xp_pixels.network import Network, PixelModel, from_arrays

COUNT = pixel_features(np.zeros((1, 1, 3), np.uint8)).shape[-1]


@pytest.fixture
def network(rng):
    shapes = ((COUNT, 4), (4, 4), (4, 1))
    return Network(
        rng.normal(size=COUNT).astype(np.float32),
        rng.uniform(1, 2, COUNT).astype(np.float32),
        tuple(rng.normal(size=shape).astype(np.float32) for shape in shapes),
        tuple(rng.normal(size=shape[1]).astype(np.float32) for shape in shapes),
    )


def test_probabilities_are_the_logistic_function_of_the_layers(network, rng):
    images = rng.integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    probabilities = PixelModel(network).predict(images)
    assert (probabilities.dtype, probabilities.shape) == (np.float32, (3, 16, 16))
    for image, found in zip(images, probabilities, strict=True):
        values = (pixel_features(image) - network.mean).astype(np.float64) / network.deviation
        for weights, biases in zip(network.weights[:2], network.biases[:2], strict=True):
            values = np.maximum(values @ weights + biases, 0)
        logits = (values @ network.weights[2] + network.biases[2])[..., 0]
        np.testing.assert_allclose(found, 1 / (1 + np.exp(-logits)), rtol=0, atol=1e-5)


def test_large_logits_are_certain_without_overflow(network):
    certain = network._replace(biases=(*network.biases[:2], np.float32([1e30])))
    images = np.zeros((1, 8, 8, 3), np.uint8)
    assert (PixelModel(certain).predict(images) == 1).all()


def test_what_is_predicted_of_an_image_does_not_depend_on_the_others(network, rng):
    images = rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    model = PixelModel(network)
    np.testing.assert_array_equal(model.predict(images)[1:], model.predict(images[1:]))
    assert model.predict(images[:0]).shape == (0, 16, 16)


@pytest.mark.parametrize(
    ("shape", "dtype"), [((1, 8, 9, 3), "uint8"), ((8, 8, 3), "uint8"), ((1, 8, 8, 3), "float32")]
)
def test_other_images_are_an_error(network, shape, dtype):
    with pytest.raises(ValueError, match=r"uint8 of shape \(N, S, S, 3\)"):
        PixelModel(network).predict(np.zeros(shape, dtype))


def test_a_network_comes_back_from_its_arrays(network):
    again = from_arrays(network.arrays())
    for name, array in network.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], array)


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("mean", np.zeros(COUNT + 1, np.float32)),
        ("mean", np.zeros(COUNT)),
        ("deviation", np.zeros(COUNT, np.float32)),
        ("weights_0", np.zeros((COUNT, 5), np.float32)),
        ("weights_1", np.full((4, 4), np.nan, np.float32)),
        ("biases_1", np.zeros((4, 1), np.float32)),
        ("biases_2", np.zeros(2, np.float32)),
    ],
)
def test_arrays_that_are_no_network_are_refused(network, name, array):
    with pytest.raises(ValueError, match="must be"):
        from_arrays({**network.arrays(), name: array})
