"""The figures of a training, epoch by epoch, as a table and as a picture."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from iem_xp_keras.checkpoints import replacing


def write_curves(folder: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write ``history.csv``, a row for each epoch, and ``curves.png``; without Matplotlib only the table."""
    with replacing(folder / "history.csv") as path, open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["epoch", *history[0]])
        table.writeheader()
        table.writerows({"epoch": epoch, **figures} for epoch, figures in enumerate(history, 1))
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        warnings.warn(f"{folder / 'curves.png'} is not drawn: that needs Matplotlib ({error})", stacklevel=2)
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    losses = figure.add_subplot(xlabel="epoch", ylabel="binary cross-entropy")
    epochs = range(1, len(history) + 1)
    for name, label in (("loss", "training"), ("val_loss", "held back")):
        if name in history[0]:
            losses.plot(epochs, [figures[name] for figures in history], ".-", label=label)
    if "agreement" in history[0]:
        agreement = losses.twinx()
        agreement.set_ylabel("IoU with the held-back labels")
        agreement.plot(epochs, [figures["agreement"] for figures in history], ".-C2", label="agreement")
    figure.legend(loc="outside upper center", ncols=3)
    losses.xaxis.set_major_locator(MaxNLocator(integer=True))
    with replacing(folder / "curves.png") as path:
        figure.savefig(path)
