"""The true mean of a loss over an epoch, and its adapters to other libraries."""
