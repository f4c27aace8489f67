"""What the number means: the meter, the explanation, the pictures, the report."""
