"""The checks on programs that were not written beside them: bugs from public threads, and healthy programs.

Who wrote them knew what the codes are for, and not how the checks work. `make test` runs a bug of every code and some
of the healthy programs, `make test-all` all bugs and every fourth of the others, `make fuzz` all (TORCHBCE_ALL=1).
"""

from __future__ import annotations

import os

import pytest

from corpus.healthy_programs import HEALTHY
from corpus.public_bugs import BUGS, MENDED

EVERY = 1 if os.environ.get("TORCHBCE_ALL") else 4
WRONG = {  # not named
    "warm_up_from_zero": "a schedule that starts at 0 is healthy in other programs",
    "focal_loss_with_weight_inside_exp": "a tip only: the loss works, and its outputs are not probabilities",
    "pathml_unordered_masks": "masks of other pictures show only after training",
    "widedeep_focal_of_probabilities": "BCE013: a few items are not fitted, which the sigmoid causes",
    "focal_times_gamma": "the loss is lowest at the targets, as a focal loss is",
    "focal_that_overwrites_its_weights": "the loss changes with its first batch only",
    "random_backbone_is_frozen": "only weights of layers with torch's own start are recognized",
    "both_divided_by_all": "a ratio of four between two logs has other causes too",
    "adam_forgets_at_once": "with a few items it lowers the loss as Adam does",
    "rate_far_too_low": "the loss falls, slowly",
    "dice_of_three_channels": "the loss still falls towards the targets",
    "windows_in_both_splits": "the rows are nearly alike, and not equal",
    "mixup_of_two_orders": "a weighted sum of two right losses, of other rows",
    "rates_decay_in_each_step": "the rates fall over more steps than are tried",
    "logits_never_negative": "a range that only trained weights show",
    "last_step_is_padding": "BCE019 is named: most rows have no influence",
    "dice_of_logits": "the loss falls towards the targets all the same",
    "loader_of_sorted_rows": "the batches of a loader that is given are not compared",
    "classifier_within_the_loss": "a module that only the loss knows is not looked for",
    "parts_not_divided": "a tip only: the gradient has the right direction",
}
pytestmark = pytest.mark.filterwarnings("ignore")  # programs as people write them


def expect(request, program):
    """A failure for a program that the checks are known to be wrong about; success is then one."""
    if program.name in WRONG:
        request.applymarker(pytest.mark.xfail(reason=WRONG[program.name], strict=True))


def sample(programs, wanted):
    """Return all of the programs as parameters; those that `wanted` does not hold for are combinations."""
    marked = ((program, () if wanted(i, program) else pytest.mark.combination) for i, program in enumerate(programs))
    return [pytest.param(program, id=program.name, marks=marks) for program, marks in marked]


FIRST = {id(program) for program in {code: program for program in reversed(BUGS) for code in program.codes}.values()}


@pytest.mark.parametrize("program", sample(BUGS, lambda i, program: id(program) in FIRST))
def test_a_public_bug_is_named(program, request):
    expect(request, program)
    found = program.run()
    assert {finding.code for finding in found.issues} & set(program.codes), f"{program.source}\n{found}"


@pytest.mark.parametrize("program", sample(MENDED[::EVERY], lambda i, program: i % 4 == 0))
def test_a_mended_program_raises_no_alarm(program, request):
    expect(request, program)
    found = program.run()
    assert not found.issues, f"{program.source}\n{found}"


@pytest.mark.parametrize("program", sample(HEALTHY[::EVERY], lambda i, program: i % 4 == 0))
def test_a_healthy_program_raises_no_alarm(program, request):
    expect(request, program)
    found = program.run()
    assert not found.issues, f"{program.idea}\n{found}"
