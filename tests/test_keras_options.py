import re

import pytest

from iem_xp_keras.options import SCHEDULES, Options, read_options


def test_the_papers_schedule_is_the_default():
    options = read_options({})
    assert (options.schedule, options.batch_size, options.epochs) == ("paper", 128, 50)
    assert (options.learning_rate, options.width, options.flips, options.average) == (1e-3, 64, False, 0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_what_is_given_goes_before_the_schedule(schedule):
    as_it_is = read_options({"schedule": schedule})
    assert as_it_is.schedule == schedule
    assert read_options({"schedule": schedule, "epochs": 3}).epochs == 3
    assert read_options({"schedule": schedule, "epochs": as_it_is.epochs}) == as_it_is


def test_the_quick_schedule_is_smaller():
    quick = read_options({"schedule": "quick"})
    assert quick.batch_size * quick.epochs * quick.width < 128 * 50 * 64


def test_names_may_be_a_list_or_one_string_with_commas_in_any_order():
    given = (["colour", "scale"], ("scale", "colour"), "colour,scale")
    assert {read_options({"augment": value}).augment for value in given} == {("scale", "colour")}
    assert read_options({"augment": ""}).augment == ()


def test_an_unknown_option_is_named_with_those_that_there_are():
    with pytest.raises(ValueError, match=r"no option epoch, weight;.* epochs, batch_size,"):
        read_options({"weight": 1, "epoch": 1, "seed": 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("schedule", "fast"),
        ("schedule", None),
        ("epochs", 0),
        ("epochs", True),
        ("batch_size", 1.5),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("learning_rate", "fast"),
        ("width", 3),
        ("seed", -1),
        ("validation", 1),
        ("average", -0.1),
        ("mixed_precision", 1),
        ("flips", "yes"),
        ("augment", "blur"),
        ("augment", 3),
        ("patience", -1),
        ("accumulate", 0),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_option(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be .*{re.escape(str(value))}"):
        read_options({name: value})


def test_patience_needs_labels_that_are_held_back():
    with pytest.raises(ValueError, match="give validation a share above 0"):
        Options(patience=2, validation=0)
