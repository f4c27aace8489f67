"""Which labels are probably wrong, and how many."""
