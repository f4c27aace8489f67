"""`fit` for modules of the user's own: the loop, its steps, and how a run is kept, resumed and shared by processes."""
