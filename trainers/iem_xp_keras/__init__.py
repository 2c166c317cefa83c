"""The Keras trainer of the SegNet: reads exported pseudo-labels and needs nothing else of `iem_xp`."""
