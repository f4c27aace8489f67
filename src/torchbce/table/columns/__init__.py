"""What a column is, how it becomes numbers, and the yes/no target."""
