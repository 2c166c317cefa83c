from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner, Result

import toys
from iem_xp.trainers import TrainerError, list_trainers, load_trainer
from iem_xp_cli.main import cli

COMMAND = "from iem_xp_cli.main import cli; cli(prog_name='iem-xp')"

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with a trainer on the path, as pip would leave it there."""

    def place(distribution: str, name: str, module: str, metadata: str = "") -> None:
        folder = tmp_path / f"{distribution.replace('-', '_')}-1.5.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(
            f"Metadata-Version: 2.4\nName: {distribution}\nVersion: 1.5\n{metadata}"
        )
        (folder / "entry_points.txt").write_text(f"[iem_xp.trainers]\n{name} = {module}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return place


def put_module(monkeypatch: pytest.MonkeyPatch, name: str, **names: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(names)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["trainers", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


# ---- Somebody else's package


def test_a_package_that_pip_installs_is_listed_loaded_and_trains(tmp_path: Path) -> None:
    pytest.importorskip("hatchling", reason="hatchling, which builds the package, is not installed")
    package, target, labels = tmp_path / "package", tmp_path / "target", tmp_path / "labels"
    for folder in (package, labels):
        folder.mkdir()
    toys.write_package(package)
    toys.install(package, target)
    listed = toys.run_with(target, COMMAND, "trainers", "--json")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert {
        "name": "colour",
        "distribution": "colour-trainer",
        "version": "1.0",
        "module": "colour_trainer",
        "missing": [],
        "install": "pip install colour-trainer",
    } in json.loads(listed.stdout)["trainers"]

    images = np.zeros((6, 8, 8, 3), np.uint8)
    images[:, 2:6, 2:6] = (250, 30, 30)
    np.save(labels / "images.npy", images)
    np.save(labels / "masks.npy", (images[..., 0] > 0).astype(np.uint8))
    code = """
import sys
from pathlib import Path
import numpy as np
from iem_xp.trainers import load_trainer

labels, model = map(Path, sys.argv[1:])
trainer = load_trainer("colour")
for _ in "twice":
    print(trainer.fit(labels, model, {}, lambda done, total, figures: print(done, "of", total)))
np.save(model / "predicted", trainer.load(model).predict(np.load(labels / "images.npy")))
try:
    trainer.fit(labels, model, {"epochs": 3}, print)
except ValueError as error:
    print(error)
"""
    done = toys.run_with(target, code, str(labels), str(tmp_path / "model"))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[:6] == [f"{done} of 6" for done in range(1, 7)]
    assert lines[6] == lines[7]
    assert float(lines[6].partition(": ")[2].rstrip("}]")) > 0.95
    assert lines[-1] == "unknown option 'epochs'; known: smoothing"
    predicted = np.load(tmp_path / "model" / "predicted.npy")
    assert (predicted.dtype, predicted.shape) == (np.float32, (6, 8, 8))
    np.testing.assert_array_equal(predicted > 0.5, images[..., 0] > 0)


# ---- The list


def test_ours_is_there_with_this_library() -> None:
    listed = {trainer.name: trainer for trainer in list_trainers()}
    for name in ("keras", "pixels"):
        ours = listed[name]
        assert (ours.distribution, ours.module) == ("iem-xp", f"iem_xp_{name}.trainer")
        assert ours.install == f"pip install 'iem-xp[{name}]'"


def test_listing_imports_no_trainer(install: Install, tmp_path: Path) -> None:
    (tmp_path / "boom.py").write_text("raise SystemExit('imported')")
    install("boom-trainer", "boom", "boom")
    names = [trainer.name for trainer in list_trainers()]
    assert "boom" in names
    assert names == sorted(names)
    assert "boom" not in sys.modules


def test_what_a_trainers_extra_lacks_is_listed_with_the_command_that_installs_it(install: Install) -> None:
    install(
        "big-trainers",
        "big",
        "big_trainers",
        "Provides-Extra: big\nProvides-Extra: other\n"
        "Requires-Dist: not-here-at-all\n"
        "Requires-Dist: nor-this; python_version > '3'\n"
        "Requires-Dist: numpy>=1; extra == 'big'\n"
        "Requires-Dist: numpy>=99; extra == 'big'\n"
        "Requires-Dist: not-here>=2; extra == 'big'\n"
        "Requires-Dist: not.here.either; extra == 'big'\n"
        "Requires-Dist: not-for-us; python_version < '3' and extra == 'big'\n"
        "Requires-Dist: iem-xp-keras; extra == 'big'\n"  # no distribution, but a module of this name
        "Requires-Dist: nor-here; extra == 'other'\n",
    )
    (big,) = (trainer for trainer in list_trainers() if trainer.name == "big")
    assert big.missing == ("numpy>=99", "not-here>=2", "not.here.either")
    assert big.install == "pip install 'big-trainers[big]'"
    result = run()
    assert result.exit_code == 0
    (line,) = (line for line in result.stdout.splitlines() if line.startswith("big "))
    assert line.split(maxsplit=3) == [
        "big",
        "big-trainers",
        "1.5",
        "lacks numpy>=99, not-here>=2, not.here.either: pip install 'big-trainers[big]'",
    ]
    shown = CliRunner().invoke(cli, ["info"]).stdout
    assert "big (not all here)" in shown.partition("trainers ")[2]


def test_two_distributions_with_one_name_are_a_warning_that_names_both(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_module(monkeypatch, "first", fit=print, load=print)
    install("z-trainers", "same", "first")
    install("b-trainers", "same", "first")
    install("a-trainers", "keras", "first")
    put_module(monkeypatch, "iem_xp_keras.trainer", fit=print, load=print)  # the true one takes its time
    with pytest.warns(UserWarning, match="both have a trainer named") as caught:
        taken = {trainer.name: trainer.distribution for trainer in list_trainers()}
    assert (taken["same"], taken["keras"]) == ("b-trainers", "iem-xp")
    keras, same = (str(warning.message) for warning in caught)
    assert keras.startswith("iem-xp and a-trainers both have a trainer named keras; that of iem-xp is taken")
    assert same.startswith("b-trainers and z-trainers both have a trainer named same")
    result = run("--check")
    assert result.stderr.splitlines()[:2] == [f"warning: {keras}", f"warning: {same}"]
    assert result.stderr.count(same) == 1


# ---- Loading


def test_a_module_an_object_and_a_class_are_trainers(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Made:
        def fit(self) -> None: ...

        def load(self) -> None: ...

    made = Made()
    module = put_module(monkeypatch, "toy", fit=print, load=print, made=made, Made=Made)
    install("toy-one", "module", "toy")
    install("toy-two", "object", "toy:made")
    install("toy-three", "class", "toy:Made")
    assert load_trainer("module") is module  # type: ignore[comparison-overlap]
    assert load_trainer("object") is made  # type: ignore[comparison-overlap]
    assert isinstance(load_trainer("class"), Made)


def test_an_unknown_name_is_an_error_with_the_known_ones_and_what_to_install(install: Install) -> None:
    install("toy-trainers", "colour", "nowhere")
    with pytest.raises(TrainerError) as caught:
        load_trainer("color")
    message = str(caught.value)
    assert message.startswith(
        "no trainer is named 'color'; did you mean colour? known: colour, keras, pixels; "
    )
    assert message.endswith("pip install 'iem-xp[keras]'")


@pytest.mark.parametrize("error", ["ImportError('no such GPU')", "RuntimeError('too old')", "KeyError(3)"])
def test_a_trainer_that_cannot_be_imported_is_named_with_cause_and_remedy(
    install: Install, tmp_path: Path, error: str
) -> None:
    (tmp_path / "broken_trainer.py").write_text(f"raise {error}")
    install("sad-trainers", "sad", "broken_trainer", "Provides-Extra: sad\n")
    with pytest.raises(TrainerError) as caught:
        load_trainer("sad")
    message = str(caught.value)
    assert message.startswith("trainer sad (broken_trainer, of sad-trainers 1.5) cannot be imported: ")
    assert type(caught.value.__cause__).__name__ in message
    assert str(caught.value.__cause__) in message
    assert message.endswith("pip install 'sad-trainers[sad]'")


def test_what_cannot_load_is_no_trainer(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    put_module(monkeypatch, "half", fit=print)
    install("half-trainers", "half", "half")
    with pytest.raises(
        TrainerError, match=r"^trainer half \(half, of half-trainers 1\.5\).*no function load;"
    ):
        load_trainer("half")


def test_a_check_warns_by_name_of_those_that_fail_and_exits_with_1(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("toy", "iem_xp_keras.trainer"):  # the true one takes its time
        put_module(monkeypatch, name, fit=print, load=print)
    install("good-trainers", "good", "toy")
    assert run().exit_code == 0
    install("sad-trainers", "sad", "nowhere_at_all")
    assert run().exit_code == 0
    result = run("--check", "--json")
    assert result.exit_code == 1
    assert "warning: trainer sad (nowhere_at_all, of sad-trainers 1.5) cannot be imported: " in result.stderr
    errors = {trainer["name"]: trainer["error"] for trainer in json.loads(result.stdout)["trainers"]}
    assert errors["good"] is None
    assert "No module named 'nowhere_at_all'" in errors["sad"]
    lines = run("--check").stdout.splitlines()
    assert {"good-trainers 1.5": "works", "sad-trainers 1.5": "cannot be imported"}.items() <= {
        line[13:37].strip(): line[38:] for line in lines
    }.items()
