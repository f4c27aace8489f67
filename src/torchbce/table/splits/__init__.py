"""Which rows are trained on, and which are kept aside, so that nothing leaks between them."""
