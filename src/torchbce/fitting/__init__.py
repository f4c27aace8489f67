"""`fit` trains a module of the user's own: the loop as a timeline of epochs and steps, batches, checkpoints."""
