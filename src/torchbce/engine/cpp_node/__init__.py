"""The call of a loss in C++: the checks, the pass and the node of autograd's graph without Python in between."""
