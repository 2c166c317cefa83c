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
        "colour_space": "rgb",
        "colour_weight": 0.0,
        "colours": 32,
        "cut": False,
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
        ("colour_weight", -1e-4),
        ("colour_weight", float("nan")),
        ("colours", 0),
        ("colours", 257),
        ("colour_space", "hsv"),
        ("colour_space", None),
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
        ("colour_weight", "0"),
        ("colours", 32.0),
        ("cut", 1),
        ("boundary_only", 1),
        ("smooth", "yes"),
    ],
)
def test_a_value_of_the_wrong_type_is_an_error_that_names_the_field(field, value):
    with pytest.raises(TypeError, match=rf"^{field} .*"):
        IEMConfig(**{field: value})


@pytest.mark.parametrize(
    "fields",
    [
        {"iterations": 0},
        {"regularization": 0},
        {"kernel_size": 1},
        {"epsilon": 1e-30},
        {"init_sides": (1,)},
        {"colour_weight": 0},
        {"colours": 1},
        {"colours": 256},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(fields):
    assert dataclasses.asdict(IEMConfig(**fields)).items() >= fields.items()


def test_an_epsilon_that_float32_cannot_hold_is_refused():
    with pytest.raises(ValueError, match=r"^epsilon must be at least 1e-30"):
        IEMConfig(epsilon=1e-40)


# Presets, and what follows from the numbers


def test_the_preset_of_the_paper_is_the_default_and_the_best_one_another():
    assert IEMConfig.preset("paper") == IEMConfig()
    best = IEMConfig.preset("best")
    assert best.cut
    assert best.colour_weight > 0
    assert (best.choose, best.colour_space) == ("information", "lab")


def test_an_unknown_preset_is_an_error_that_names_those_there_are():
    with pytest.raises(ValueError, match=r"'fast'; known: paper, best"):
        IEMConfig.preset("fast")


@pytest.mark.parametrize(
    ("fields", "needed"),
    [
        ({}, False),
        ({"colour_space": "lab"}, False),
        ({"choose": "image"}, False),
        ({"choose": "information"}, True),
        ({"colour_weight": 1e-9}, True),
        ({"cut": True}, True),
    ],
)
def test_colours_are_counted_only_where_something_depends_on_it(fields, needed):
    assert IEMConfig(**fields).needs_palette == needed
