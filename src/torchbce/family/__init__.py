"""The losses around binary cross-entropy: focal, asymmetric, Poly-1, and those for classes of very different size."""
