from __future__ import annotations

import json
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import click
import pytest

from iem_xp.config import IEMConfig
from iem_xp.runs.settings import PRESETS, Settings, SettingsError, differences, read_settings
from iem_xp_cli.options import collect_settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_the_defaults_are_the_paper_s_numbers_on_the_whole_image() -> None:
    assert Settings() == Settings(IEMConfig(), size=128, fit="whole")


def test_the_paper_preset_is_the_protocol_of_its_tables() -> None:
    assert PRESETS["paper"] == Settings(IEMConfig(), size=128, fit="crop")


def test_the_paper_s_masks_do_not_follow_edges_and_the_best_do_but_for_crops() -> None:
    assert PRESETS["best"].edges == "guided"
    assert PRESETS["best"].follows_edges
    assert not PRESETS["best"].updated({"fit": "crop"}).follows_edges
    assert not PRESETS["paper"].follows_edges
    assert not PRESETS["paper"].updated({"fit": "whole"}).follows_edges


def test_a_configuration_of_an_earlier_version_had_no_edges() -> None:
    now = json.loads(json.dumps(Settings().as_dict()))
    earlier = {name: value for name, value in now.items() if name != "edges"}
    assert differences(earlier, now) == ""
    assert differences(now, earlier) == ""
    assert differences(earlier, now | {"edges": "guided"}) == '  edges: "none" there, "guided" now\n'
    assert Settings.of_configuration(earlier) == Settings()


def test_settings_are_flat_and_complete() -> None:
    settings = Settings(IEMConfig(sigma=2.0), size=64)
    assert Settings().updated(settings.as_dict()) == settings
    assert settings.as_dict()["sigma"] == 2.0
    assert settings.as_dict()["size"] == 64


def test_settings_are_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().size = 3  # type: ignore[misc]


def test_updating_leaves_the_other_settings() -> None:
    before = Settings(IEMConfig(iterations=3), size=64)
    after = before.updated({"sigma": 2.0, "fit": "crop"})
    assert after == Settings(IEMConfig(iterations=3, sigma=2.0), size=64, fit="crop")
    assert before.updated({}) == before


def test_options_win_over_the_file_the_file_over_the_preset_the_preset_over_the_default(file: Path) -> None:
    file.write_text("sigma = 2.0\nsize = 64\ninit_sides = [50, 60]\n")
    settings = collect_settings("paper", file, {"size": 32, "iterations": None})
    assert settings == Settings(IEMConfig(sigma=2.0, init_sides=(50, 60)), size=32, fit="crop")


def test_a_file_wins_over_the_preset(file: Path) -> None:
    file.write_text('fit = "whole"\n')
    assert collect_settings("paper", file, {}) == Settings()


def test_a_file_sets_every_setting(file: Path) -> None:
    file.write_text(
        "iterations = 7\ninit_sides = [10]\nchoose = 'image'\nkernel_size = 5\nsigma = 1\nrepeats = 3\n"
        "scale_factor = 2\nregularization = 0\nepsilon = 1e-6\ncolour_space = 'lab'\ncolour_weight = 0.5\n"
        "colours = 8\ncut = true\nboundary_only = false\nsmooth = false\n"
        "size = 50\nfit = 'crop'\nedges = 'iem'\n"
    )
    config = IEMConfig(7, (10,), "image", 5, 1.0, 3, 2, 0.0, 1e-6, False, False, "lab", 0.5, 8, True)
    values = read_settings(file)
    assert set(values) == set(Settings().as_dict())
    assert Settings().updated(values) == Settings(config, size=50, fit="crop", edges="iem")


@pytest.mark.parametrize(
    ("name", "close"), [("sgima", "sigma"), ("init_side", "init_sides"), ("kernelsize", "kernel_size")]
)
def test_an_unknown_setting_suggests_the_close_one(name: str, close: str) -> None:
    with pytest.raises(SettingsError, match=rf"'{name}'; did you mean {close}\?"):
        Settings().updated({name: 3})


def test_an_unknown_setting_that_is_close_to_none_lists_all() -> None:
    with pytest.raises(SettingsError, match=r"'zzz'; known are iterations, .*, fit, edges$"):
        Settings().updated({"zzz": 3})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("iterations", -1),
        ("iterations", 1.5),
        ("iterations", True),
        ("init_sides", []),
        ("init_sides", 4.5),
        ("init_sides", "44"),
        ("init_sides", [0]),
        ("init_sides", [44, 44]),
        ("choose", "images"),
        ("kernel_size", 4),
        ("sigma", 0),
        ("sigma", "5"),
        ("sigma", float("nan")),
        ("repeats", 0),
        ("scale_factor", 0),
        ("regularization", -0.1),
        ("epsilon", float("inf")),
        ("colour_space", "hsv"),
        ("colour_weight", -1),
        ("colours", 0),
        ("colours", 257),
        ("cut", 1),
        ("boundary_only", 1),
        ("smooth", "yes"),
        ("size", 0),
        ("size", 12.0),
        ("size", True),
        ("fit", "cropped"),
        ("fit", ["crop"]),
        ("edges", "sharp"),
        ("edges", ["none"]),
    ],
)
def test_an_invalid_value_names_its_setting(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings().updated({name: value})


def test_an_invalid_value_in_a_file_names_the_file_too(file: Path) -> None:
    file.write_text("kernel_size = 4\n")
    with pytest.raises(click.UsageError, match=r"settings\.toml: kernel_size must be odd.* 4"):
        collect_settings("best", file, {})


def test_an_invalid_option_does_not_blame_the_file(file: Path) -> None:
    file.write_text("sigma = 2.0\n")
    with pytest.raises(click.UsageError) as caught:
        collect_settings("best", file, {"kernel_size": 4})
    assert "toml" not in caught.value.message


def test_a_file_that_cannot_be_read_is_named_with_the_cause(file: Path) -> None:
    with pytest.raises(SettingsError, match=r"settings\.toml: No such file"):
        read_settings(file)
    file.write_text("sigma 2\n")
    with pytest.raises(SettingsError, match=r"settings\.toml: not valid TOML.*line 1"):
        read_settings(file)
    file.write_bytes(b'choose = "\xff"\n')
    with pytest.raises(SettingsError, match=r"settings\.toml: not valid TOML"):
        read_settings(file)


def test_hyphens_pass_for_underscores():
    assert Settings().updated({"kernel-size": 7}).config.kernel_size == 7


def test_a_difference_within_a_value_is_named_alone() -> None:
    there = {"curation": {"min_share": 0.0, "only": None}, "edges": "none"}
    now = {"curation": {"min_share": 0.5, "only": None}, "edges": "none"}
    assert differences(there, now) == "  curation.min_share: 0.0 there, 0.5 now\n"
