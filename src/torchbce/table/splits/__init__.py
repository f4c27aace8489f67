"""Split rows into those to train on and those kept aside, so that nothing leaks between them."""
