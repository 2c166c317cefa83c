"""TensorFlow without its remarks on how it was built, and on GPUs where there are none."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

_REMARK = re.compile(
    rb"I\d{4} |WARNING: All log messages before absl::InitializeLog\(\) is called"
    rb"|E\d{4} .* cuInit: .*\(303\)"  # no driver of GPUs is installed
)


@contextmanager
def without_remarks() -> Iterator[None]:
    """Keep remarks of TensorFlow off standard error while the ``with`` block imports it.

    TensorFlow 2.21 writes them from C++, whatever TF_CPP_MIN_LOG_LEVEL says. Warnings, errors and all else
    are passed on at the end of the block.
    """
    try:
        terminal = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    with TemporaryFile() as file:
        sys.stderr.flush()
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(terminal, 2)
            os.close(terminal)
            file.seek(0)
            for line in file:
                if not _REMARK.match(line):
                    os.write(2, line)
