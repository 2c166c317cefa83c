"""A page to judge a run by eye: every image with its mask, and the figures of the run."""
