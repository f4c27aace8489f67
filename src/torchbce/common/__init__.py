"""What several rooms need: errors, files that appear whole, batches, processes, text of numbers."""
