"""What a binary cross-entropy means: a sketch of the predictions, statistics of it, a result, and its renderings."""
