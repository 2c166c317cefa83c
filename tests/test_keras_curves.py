import csv
import sys

import pytest

pytest.importorskip("keras", reason="Keras is not installed")
curves = pytest.importorskip("iem_xp_keras.curves", reason="Keras or its backend is not installed")

HISTORY = [
    {"loss": 0.5, "val_loss": 0.6, "agreement": 0.25},
    {"loss": 0.25, "val_loss": 0.5, "agreement": 0.5},
]


def test_the_table_has_a_row_for_each_epoch(tmp_path):
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    curves.write_curves(tmp_path, HISTORY)
    with open(tmp_path / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row.pop("epoch") for row in rows] == ["1", "2"]
    assert [{name: float(value) for name, value in row.items()} for row in rows] == HISTORY


def test_the_picture_shows_every_column(tmp_path, monkeypatch):
    figures = pytest.importorskip("matplotlib.figure", reason="Matplotlib is not installed")
    drawn = []
    save = figures.Figure.savefig
    monkeypatch.setattr(figures.Figure, "savefig", lambda self, *a: (drawn.append(self), save(self, *a)))
    curves.write_curves(tmp_path, HISTORY)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    lines = [line for axes in drawn[0].axes for line in axes.get_lines()]
    assert [list(line.get_ydata()) for line in lines] == [[0.5, 0.25], [0.6, 0.5], [0.25, 0.5]]


def test_without_labels_held_back_there_is_the_loss_alone(tmp_path):
    pytest.importorskip("matplotlib", reason="Matplotlib is not installed")
    curves.write_curves(tmp_path, [{"loss": 0.5}])
    assert (tmp_path / "history.csv").read_text(encoding="utf-8").split() == ["epoch,loss", "1,0.5"]
    assert (tmp_path / "curves.png").exists()


def test_without_matplotlib_there_is_the_table_and_a_word(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.warns(UserWarning, match=r"curves\.png is not drawn: that needs Matplotlib"):
        curves.write_curves(tmp_path, HISTORY)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]
