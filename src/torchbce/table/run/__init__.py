"""The run folder: the model, its card and report, predictions."""
