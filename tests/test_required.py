"""Tests of a GPU that is required fail where there is none, instead of being skipped."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TESTS = ["tests/test_gpu.py", "tests/test_layout.py::test_colours_are_channels_first_from_minus_1_to_1"]


def run(required):
    """Tests of a GPU, in a process that sees none: its exit status and output."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "IEM_XP_REQUIRE": required}
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", *TESTS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_without_a_gpu_its_tests_are_skipped_with_the_cause():
    status, output = run("")
    assert status == 0, output
    assert "CuPy finds no CUDA device" in output or "cupy is not installed" in output
    assert "passed" not in output


def test_a_gpu_that_is_required_and_not_there_makes_them_fail_with_the_cause():
    status, output = run("gpu")
    assert status == 1, output
    assert "IEM_XP_REQUIRE=gpu, but CuPy " in output or "IEM_XP_REQUIRE=gpu, but cupy " in output
    assert "skipped" not in output
    assert "passed" not in output


@pytest.mark.parametrize("required", ["gpus", "GPU", "cupy"])
def test_what_cannot_be_required_is_an_error(required):
    status, output = run(required)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"IEM_XP_REQUIRE must be \"gpu\", or not set, not '{required}'" in output
