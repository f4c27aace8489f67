"""The command `torchbce` with all of its commands."""

from torchbce.cli import model_commands, number_commands, selftest_commands
from torchbce.cli.base import app

__all__ = ["app", "model_commands", "number_commands", "selftest_commands"]
