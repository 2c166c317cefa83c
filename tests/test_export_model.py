"""`iem-xp export-model`, with trainers that write a line of text for a network."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from iem_xp import exporting
from iem_xp.models import FILE, describe
from iem_xp.runs.settings import PRESETS
from iem_xp_cli.main import cli

Export = Callable[[Path, str, Path], None]


def export(folder: Path, format: str, path: Path) -> None:
    """Write a file, or the folder of a SavedModel, and leave something beside it."""
    if format == "saved_model":
        path.mkdir()
        (path / "variables").write_text("of " + folder.name)
        path = path / "saved_model.pb"
    path.write_text(f"{format} of {folder.name}")
    path.with_name("draft").touch()


@pytest.fixture
def offer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a trainer of these functions be the one of every model."""

    def place(**functions: object) -> None:
        monkeypatch.setattr(exporting, "load_trainer", lambda name: SimpleNamespace(**functions))

    place(export=export, FORMATS=("onnx", "saved_model", "litert"))
    return place


@pytest.fixture
def model(here: Path, offer: Callable[..., None]) -> Path:
    folder = here / "models" / "toy"
    write_facts(folder)
    return folder


def write_facts(folder: Path, trained: bool = True) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    facts = describe("toy", PRESETS["paper"], {}) | {"trained": trained}
    (folder / FILE).write_text(json.dumps(facts))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["export-model", *map(str, arguments)])


def names() -> set[str]:
    return {path.name for path in Path().iterdir()}


def check_refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    for word in words:
        assert word in result.stderr


@pytest.mark.parametrize(
    ("format", "name"), [("onnx", "toy.onnx"), ("litert", "toy.tflite"), ("saved_model", "toy.saved_model")]
)
def test_it_is_written_to_the_current_folder_named_after_the_model(
    model: Path, format: str, name: str
) -> None:
    result = run(model, "--format", format)
    assert result.exit_code == 0, result.stderr
    assert names() == {"models", name}
    made = Path(name) / "saved_model.pb" if format == "saved_model" else Path(name)
    assert made.read_text() == f"{format} of toy"
    assert result.stdout == f"{name}: {format} of {model}, for images of 128 x 128\n"


def test_json_says_what_was_made_of_what(model: Path) -> None:
    result = run(model, "--format", "onnx", "-o", "made/here.onnx", "--json")
    assert json.loads(result.stdout) == {
        "model": str(model),
        "trainer": "toy",
        "format": "onnx",
        "path": "made/here.onnx",
        "size": 128,
        "fit": "crop",
    }
    assert Path("made/here.onnx").read_text() == "onnx of toy"
    assert list(Path("made").iterdir()) == [Path("made/here.onnx")]


def test_what_is_there_is_replaced_only_if_asked(model: Path) -> None:
    Path("toy.onnx").write_text("old")
    check_refused(run(model, "--format", "onnx"), "toy.onnx: exists", "--overwrite")
    assert Path("toy.onnx").read_text() == "old"
    assert run(model, "--format", "onnx", "--overwrite").exit_code == 0
    assert Path("toy.onnx").read_text() == "onnx of toy"


def test_a_saved_model_takes_the_place_of_another_whole(model: Path) -> None:
    assert run(model, "--format", "saved_model").exit_code == 0
    Path("toy.saved_model/old").touch()
    check_refused(run(model, "--format", "saved_model"), "exists")
    assert run(model, "--format", "saved_model", "--overwrite").exit_code == 0
    assert {path.name for path in Path("toy.saved_model").iterdir()} == {
        "saved_model.pb",
        "variables",
        "draft",
    }


@pytest.mark.parametrize("format", ["onnx", "saved_model"])
def test_a_folder_of_something_else_is_never_replaced(model: Path, format: str) -> None:
    Path("mine").mkdir()
    Path("mine/thesis.tex").touch()
    refused = run(model, "--format", format, "-o", "mine", "--overwrite")
    check_refused(refused, "mine: is a folder of something else")
    assert list(Path("mine").iterdir()) == [Path("mine/thesis.tex")]


@pytest.mark.parametrize("error", [ImportError, RuntimeError, ValueError])
def test_what_fails_leaves_the_old_file_and_nothing_else(
    model: Path, offer: Callable[..., None], error: type[Exception]
) -> None:
    def fail(folder: Path, format: str, path: Path) -> None:
        export(folder, format, path)
        raise error("no more paper")

    offer(export=fail, FORMATS=("onnx",))
    Path("toy.onnx").write_text("old")
    check_refused(run(model, "--format", "onnx", "--overwrite"), "no more paper")
    assert Path("toy.onnx").read_text() == "old"
    assert names() == {"models", "toy.onnx"}


def test_a_trainer_that_wrote_nothing_is_named(model: Path, offer: Callable[..., None]) -> None:
    offer(export=lambda folder, format, path: None, FORMATS=("onnx",))
    check_refused(run(model, "--format", "onnx"), "trainer toy wrote no onnx")
    assert names() == {"models"}


def test_a_trainer_that_cannot_export_is_named(model: Path, offer: Callable[..., None]) -> None:
    offer()
    check_refused(
        run(model, "--format", "onnx"), "trainer toy cannot export its networks", "no function export"
    )


def test_another_format_is_an_error_that_names_those_that_there_are(model: Path) -> None:
    check_refused(run(model, "--format", "torch"), "does not export to 'torch'", "onnx, saved_model, litert")


def test_a_network_that_is_not_trained_to_its_end_is_not_exported(model: Path) -> None:
    write_facts(model, trained=False)
    check_refused(run(model, "--format", "onnx"), f"{model}: its training is not finished", "iem-xp refine")


def test_a_folder_without_a_network_is_an_error_that_names_one_below_it(model: Path) -> None:
    check_refused(
        run(model.parent.parent, "--format", "onnx"), "no network is there", f"did you mean {model}?"
    )


def test_a_disk_that_does_not_take_it_is_an_error_of_status_1(model: Path) -> None:
    Path("file").touch()
    result = run(model, "--format", "onnx", "-o", "file/toy.onnx")
    assert result.exit_code == 1
    assert "file" in result.stderr
