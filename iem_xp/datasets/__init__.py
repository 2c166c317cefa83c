"""Data sets as they are distributed: names, images, ground truth."""

from iem_xp.datasets.examples import Dataset, DatasetError, Example
from iem_xp.datasets.registry import KINDS, Kind, open_dataset

__all__ = ["KINDS", "Dataset", "DatasetError", "Example", "Kind", "open_dataset"]
