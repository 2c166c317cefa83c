"""What TensorFlow remarks as it is imported stays off the terminal, and nothing else does."""

import os
import sys

import pytest

from iem_xp_keras.quiet import without_remarks

REMARKS = [
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795432932.202810   10578 port.cc:153] oneDNN custom operations are on.",
    "E0000 00:00:1795451682.926787   28596 cuda_platform.cc:52] failed call to cuInit: INTERNAL: CUDA error: "
    "Failed call to cuInit: UNKNOWN ERROR (303)",
]
OTHERS = [
    "E0000 00:00:1795451682.926787   28596 cuda_platform.cc:52] failed call to cuInit: OUT OF MEMORY (2)",
    "W0000 00:00:1795432932.202810   10578 gpu_device.cc:1] Cannot dlopen some GPU libraries.",
    "I remark this myself",
]


def test_remarks_are_left_out_and_the_rest_is_passed_on(capfd):
    with without_remarks():
        for line in REMARKS + OTHERS:
            os.write(2, f"{line}\n".encode())
    assert capfd.readouterr() == ("", "".join(f"{line}\n" for line in OTHERS))
    os.write(2, f"{REMARKS[1]}\n".encode())
    assert capfd.readouterr().err == f"{REMARKS[1]}\n"


def test_what_was_said_before_an_error_is_passed_on(capfd):
    def fail():
        with without_remarks():
            print("the cause", file=sys.stderr)
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert "the cause" in capfd.readouterr().err
