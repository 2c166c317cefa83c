"""Unsupervised segmentation by inpainting error maximization."""
