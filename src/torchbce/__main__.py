"""`python -m torchbce`: the command, also for `torchrun -m torchbce explain ...`."""

from torchbce.cli import main

main()
