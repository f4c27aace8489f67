"""The table room: files, the yes/no column, encodings, the split, predictions. polars is known here alone."""
