"""Data sets as they are distributed: names, images, ground truth."""
