"""Runs: folders of images in, a folder of masks and one SQLite file out."""
