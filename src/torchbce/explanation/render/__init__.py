"""A result as text and as a page."""
