"""Tests of a GPU, or a browser, that is required fail where there is none, instead of being skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import conftest

ROOT = Path(__file__).parents[1]
TESTS = ["tests/test_gpu.py", "tests/test_layout.py::test_colours_are_channels_first_from_minus_1_to_1"]


PAGE = ["tests/test_report_browser.py::test_the_page_shows_the_run"]


def run(required, marker="gpu", tests=TESTS):
    """Tests of a GPU or a browser, in a process that sees none: its exit status and output."""
    hidden = {"CUDA_VISIBLE_DEVICES": "", "IEM_XP_CHROMIUM": "/nowhere/chromium", "IEM_XP_REQUIRE": required}
    command = [sys.executable, "-m", "pytest", "-q", "-m", marker, "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, **hidden}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_without_a_gpu_its_tests_are_skipped_with_the_cause():
    status, output = run("")
    assert status == 0, output
    assert "CuPy finds no CUDA device" in output or "cupy is not installed" in output
    assert "passed" not in output


@pytest.mark.parametrize("required", ["gpu", "browser,gpu"])
def test_a_gpu_that_is_required_and_not_there_makes_them_fail_with_the_cause(required):
    status, output = run(required)
    assert status == 1, output
    assert "IEM_XP_REQUIRE=gpu, but CuPy " in output or "IEM_XP_REQUIRE=gpu, but cupy " in output
    assert "skipped" not in output
    assert "passed" not in output


@pytest.mark.parametrize("required", ["", "gpu"])
def test_without_a_browser_its_tests_are_skipped_with_the_cause(required):
    status, output = run(required, "browser", PAGE)
    assert status == 0, output
    assert "1 skipped" in output
    assert "/nowhere/chromium" in output or "playwright" in output


def test_a_browser_that_is_required_and_not_there_makes_them_fail_with_the_cause():
    status, output = run("gpu,browser", "browser", PAGE)
    assert status == 1, output
    assert "IEM_XP_REQUIRE=browser, but " in output
    assert "skipped" not in output


def test_what_cannot_be_required_is_an_error():
    status, output = run("gpus")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert (
        'IEM_XP_REQUIRE must be of "gpu", "browser", separated by commas, or not set, not \'gpus\'' in output
    )


@pytest.mark.parametrize("required", ["GPU", "cupy", "gpu;browser", "gpu, browser"])
def test_it_is_of_these_names_and_commas_alone(required, monkeypatch):
    monkeypatch.setenv("IEM_XP_REQUIRE", required)
    named = required.split(",")[-1]
    with pytest.raises(pytest.UsageError, match=f"or not set, not {named!r}"):
        conftest.pytest_configure()
