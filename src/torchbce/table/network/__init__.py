"""The network of a table: how numbers are binned, and its training, compiled or in torch, behind one protocol."""
