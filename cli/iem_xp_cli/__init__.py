"""The `iem-xp` command."""
