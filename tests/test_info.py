import json
import re
import subprocess
import sys
from dataclasses import asdict

import numpy as np
import pytest
from click.testing import CliRunner

from gpus import pretend_cupy, pretend_no_cupy
from iem_xp.selftest import Result
from iem_xp_cli.main import cli


def run(*arguments):
    result = CliRunner().invoke(cli, arguments)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_info_shows_versions_devices_engines_and_trainers():
    result = run("info")
    assert result.exit_code == 0
    assert re.search(r"^iem-xp \d+\.\d+\.\d+, Python 3\.", result.stdout)
    for line in (
        r"numpy +2\.",
        "device +cpu +available",
        "device +gpu",
        "engines +array, fused .*kept in",
        "trainers ",
    ):
        assert re.search(line, result.stdout, re.MULTILINE)


def test_info_for_machines():
    found = json.loads(run("info", "--json").stdout)
    assert found.keys() >= {"version", "python", "packages", "devices", "engines", "trainers"}
    assert found["packages"]["numpy"] == np.__version__
    assert found["devices"][0]["name"] == "cpu"
    assert found["engines"] == ["array", "fused"]
    assert {"name": "keras", "distribution": "iem-xp"}.items() <= found["trainers"][0].items()


def test_info_names_the_cause_of_a_missing_gpu(monkeypatch):
    pretend_no_cupy(monkeypatch)
    found = json.loads(run("info", "--json").stdout)
    _, gpu = found["devices"]
    assert not gpu["available"]
    assert "pip install" in gpu["reason"]
    assert found["cuda"] == {"driver": None, "runtime": None, "compiler": None}


def test_info_shows_the_gpus_and_versions_of_cuda(monkeypatch):
    pretend_cupy(monkeypatch, count=2, driver="12.4")
    result = run("info")
    for line in (
        r"device +gpu:0 +available: Imaginary 9000, compute capability 6\.1, 3\.0 of 8\.0 GiB free",
        "device +gpu:1 +available: Imaginary 9000",
        r"CUDA +12\.4 driver, 12\.9 runtime, 12\.8 compiler",
    ):
        assert re.search(line, result.stdout, re.MULTILINE)
    gpu = json.loads(run("info", "--json").stdout)["devices"][1]
    assert (gpu["memory"], gpu["free_memory"], gpu["compute_capability"]) == (8 * 2**30, 3 * 2**30, "6.1")


def test_info_loads_no_library_that_takes_its_time():
    code = (
        "import sys; from iem_xp_cli.main import cli; cli(['info'], standalone_mode=False); "
        "print({'jax', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


RESULTS = (
    Result("numpy", "agrees", None, 0.4, 12, 12, 0, 0.0),
    Result("torch", "missing", "torch is not installed"),
    Result("cupy gpu:0", "differs", None, 1.2, 12, 9, 333, 4e-5),
    Result("jax", "failed", "ValueError: no"),
)


def test_the_self_test_has_a_line_for_every_backend(monkeypatch):
    monkeypatch.setattr("iem_xp.selftest.run", lambda announce: iter(RESULTS[:2]))
    result = run("info", "--selftest")
    assert result.exit_code == 0
    numpy, torch = result.stdout.splitlines()[-2:]
    assert re.fullmatch("selftest numpy +agrees +12 of 12 masks identical, 0 pixels differ, .*; 0.4 s", numpy)
    assert re.fullmatch("selftest torch +missing +torch is not installed", torch)


@pytest.mark.parametrize("bad", RESULTS[2:], ids=lambda bad: bad.status)
def test_a_self_test_that_fails_is_an_error(monkeypatch, bad):
    monkeypatch.setattr("iem_xp.selftest.run", lambda announce: iter((RESULTS[0], bad)))
    result = run("info", "--selftest", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["selftest"] == [asdict(RESULTS[0]), asdict(bad)]
