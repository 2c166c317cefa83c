"""Files that hold many images: tar archives, LMDB, Parquet; `opening.open_archive` opens each by its name."""
