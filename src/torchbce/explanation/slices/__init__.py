"""Which part of the data carries the loss: slices of a table where the model errs more than its probabilities say."""
