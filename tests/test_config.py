import dataclasses

import numpy as np
import pytest

from iem_xp import IEMConfig


def test_the_defaults_are_the_papers():
    assert dataclasses.asdict(IEMConfig()) == {
        "iterations": 150,
        "init_sides": (44, 78, 92),
        "choose": "dataset",
        "kernel_size": 11,
        "sigma": 5.0,
        "repeats": 2,
        "scale_factor": 1,
        "regularization": 1e-3,
        "epsilon": 1e-8,
        "boundary_only": True,
        "smooth": True,
    }


def test_it_is_frozen_comparable_and_hashable():
    config = IEMConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.sigma = 3
    assert config == IEMConfig()
    assert hash(config) == hash(IEMConfig())
    assert dataclasses.replace(config, sigma=3) != config


def test_numbers_become_plain_ones():
    config = IEMConfig(iterations=np.int64(3), sigma=2, epsilon=np.float32(0.5), init_sides=[np.int32(8), 9])
    assert config == IEMConfig(iterations=3, sigma=2.0, epsilon=0.5, init_sides=(8, 9))
    assert type(config.iterations) is int
    assert type(config.sigma) is type(config.epsilon) is float
    assert [type(side) for side in config.init_sides] == [int, int]


def test_a_single_side_needs_no_tuple():
    assert IEMConfig(init_sides=78).init_sides == (78,)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", -1),
        ("kernel_size", 0),
        ("kernel_size", 10),
        ("repeats", 0),
        ("scale_factor", 0),
        ("init_sides", ()),
        ("init_sides", (0,)),
        ("init_sides", (44, 78, 44)),
        ("sigma", 0),
        ("sigma", -1.0),
        ("sigma", float("nan")),
        ("sigma", float("inf")),
        ("epsilon", 0.0),
        ("epsilon", float("nan")),
        ("regularization", -1e-3),
        ("regularization", float("nan")),
        ("regularization", float("inf")),
        ("choose", "best"),
        ("choose", None),
    ],
)
def test_a_value_out_of_range_is_an_error_that_names_the_field(field, value):
    with pytest.raises(ValueError, match=rf"^{field} .*"):
        IEMConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("iterations", 1.5),
        ("iterations", True),
        ("iterations", "150"),
        ("kernel_size", 11.0),
        ("repeats", None),
        ("scale_factor", 0.5),
        ("init_sides", (44.5,)),
        ("init_sides", ("44",)),
        ("init_sides", None),
        ("init_sides", 44.0),
        ("sigma", "5"),
        ("epsilon", None),
        ("regularization", False),
        ("boundary_only", 1),
        ("smooth", "yes"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_that_names_the_field(field, value):
    with pytest.raises(TypeError, match=rf"^{field} .*"):
        IEMConfig(**{field: value})


@pytest.mark.parametrize(
    "fields",
    [{"iterations": 0}, {"regularization": 0}, {"kernel_size": 1}, {"epsilon": 1e-30}, {"init_sides": (1,)}],
)
def test_the_ends_of_the_ranges_are_allowed(fields):
    assert dataclasses.asdict(IEMConfig(**fields)).items() >= fields.items()


def test_an_epsilon_that_float32_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=r"^epsilon must be at least 1e-30"):
        IEMConfig(epsilon=1e-40)
