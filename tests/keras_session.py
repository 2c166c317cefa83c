"""A training in a process of its own: ``python keras_session.py LABELS MODEL [KILLED_AFTER]``.

The backend is that of KERAS_BACKEND. Writes what was seen to ``seen.json`` in the folder of the model.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

OPTIONS = {
    "schedule": "quick",
    "epochs": 4,
    "batch_size": 4,
    "width": 4,
    "validation": 0.2,
    "learning_rate": 1e-2,
    "average": 0.5,
}


def digest(batch):
    """What tells a batch from others."""
    return hashlib.sha256(b"".join(array.tobytes() for array in batch)).hexdigest()


def main(labels, model, killed_after=0):
    import keras

    from iem_xp_keras import trainer
    from iem_xp_keras.labels import Batches

    data, losses, distributions = {}, [], set()
    get = Batches.__getitem__

    def seen(batches, index):
        batch = get(batches, index)
        if batches._epoch == 1:
            data[index] = digest(batch)
        return batch

    def progress(step, steps, figures):
        if step == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)
        if "agreement" in figures:
            losses.append(figures["loss"])
            distributions.add(type(keras.distribution.distribution()).__name__)

    Batches.__getitem__ = seen
    trainer.fit(Path(labels), Path(model), OPTIONS, progress)
    facts = {
        "backend": keras.config.backend(),
        "data": [data[index] for index in sorted(data)],
        "losses": losses,
        "distributions": sorted(distributions),
    }
    (Path(model) / "seen.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(int, sys.argv[3:]))
