"""A classifier of pixels that a whole collection shares, as a trainer: see docs/pixels.md."""
