import re

import pytest

from iem_xp_pixels.options import Options, read_options


def test_what_is_given_goes_before_the_defaults():
    assert read_options({}) == Options()
    assert read_options({"epochs": 3, "seed": 2}) == Options(epochs=3, seed=2)


def test_an_unknown_option_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no option epoch, weight;.* epochs, pixels,"):
        read_options({"weight": 1, "epoch": 1, "seed": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", True),
        ("pixels", 1.5),
        ("width", 0),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("learning_rate", "fast"),
        ("learning_rate", True),
        ("trust", 1.1),
        ("seed", -1),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_option(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be .*{re.escape(str(value))}"):
        read_options({name: value})
