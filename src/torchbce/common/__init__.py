"""What several rooms need: errors, files that appear whole, batches, the encodings of targets."""
