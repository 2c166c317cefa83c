"""Unsupervised segmentation by inpainting error maximization (Savarese et al., CVPR 2021).

Start with `segment`; `IEMConfig` has the numbers of the method.
"""

from iem_xp import metrics
from iem_xp.arrays import DeviceError
from iem_xp.config import IEMConfig
from iem_xp.engines import EngineError
from iem_xp.formulas import centred_square, inpaint, inpainting_error, objective, update
from iem_xp.segmentation import Segmentation, segment

__version__ = "0.1.0"

__all__ = [
    "DeviceError",
    "EngineError",
    "IEMConfig",
    "Segmentation",
    "centred_square",
    "inpaint",
    "inpainting_error",
    "metrics",
    "objective",
    "segment",
    "update",
]
