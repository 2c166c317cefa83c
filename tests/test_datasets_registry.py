import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from downloads import make_cub, make_flowers17, make_flowers102, make_folder, make_lsun_car
from iem_xp.datasets import KINDS, DatasetError, open_dataset

MAKERS = {
    "flowers": make_flowers102,
    "flowers17": make_flowers17,
    "cub": make_cub,
    "lsun-car": make_lsun_car,
    "folder": make_folder,
}


def test_every_kind_can_be_made():
    assert MAKERS.keys() == KINDS.keys()


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_opens_with_unique_names(tmp_path, kind):
    dataset = open_dataset(kind, str(MAKERS[kind](tmp_path)))
    assert len({example.name for example in dataset}) == len(dataset) == 10
    assert all(example.truth.shape == example.image.shape[:2] for example in dataset)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if KINDS[kind].splits])
def test_the_default_split_is_the_test(tmp_path, kind):
    root = MAKERS[kind](tmp_path)
    assert KINDS[kind].splits[0] == "test"
    by_default, test = open_dataset(kind, root), open_dataset(kind, root, "test")
    assert by_default.title == test.title == f"{test.title.removesuffix(', test')}, test"
    for split in KINDS[kind].splits:
        assert len(open_dataset(kind, root, split)) > 0
    with pytest.raises(DatasetError, match="no split 'tset'; there are test, "):
        open_dataset(kind, root, "tset")


@pytest.mark.parametrize("kind", ["flowers17", "folder"])
def test_a_split_of_what_has_none_is_an_error(tmp_path, kind):
    with pytest.raises(DatasetError, match=f"{kind} has no splits, so not 'test' either"):
        open_dataset(kind, tmp_path, "test")


def test_an_unknown_kind_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(
        DatasetError, match="no data set 'birds'; there are flowers, flowers17, cub, lsun-car, "
    ):
        open_dataset("birds", tmp_path)


def test_importing_the_readers_loads_neither_lmdb_nor_scipy_io():
    code = "import sys, iem_xp.datasets; print(*{'lmdb', 'scipy.io'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_python_of_the_documentation_runs(tmp_path, monkeypatch, capsys):
    page = (Path(__file__).parents[1] / "docs" / "datasets.md").read_text(encoding="utf-8")
    make_flowers102(tmp_path / "data" / "flowers102")
    make_flowers17(tmp_path / "data" / "flowers17")
    make_lsun_car(tmp_path / "data" / "lsun")
    monkeypatch.chdir(tmp_path)
    shown = []
    monkeypatch.setattr(Image.Image, "show", lambda image: shown.append(image))
    exec("\n".join(re.findall(r"```python\n(.*?)```", page, re.S)), {})
    assert capsys.readouterr().out == "Oxford 102 Flowers, test 10\n"
    assert [image.size for image in shown] == [(80, 64)]
    assert len(list((tmp_path / "cars").glob("*.jpg"))) == 20
