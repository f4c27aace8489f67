"""From a numba function to machine code, compiled once and cached on disk."""
