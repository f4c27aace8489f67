"""
Reading a report
================

What ``explain`` says of a model, line by line, on predictions whose faults are known: the model is too sure of
itself, and it does not know that one group is different.
"""

import matplotlib.pyplot as plt
import numpy as np

import torchbce
from torchbce.explanation.plots import LedgerDisplay, LossHistogramDisplay, ReliabilityDisplay

rng = np.random.default_rng(0)
table = {"country": rng.choice(["DE", "FR", "IT"], 8_000), "age": rng.integers(18, 80, 8_000)}
truth = rng.normal(-1, 1, 8_000)
y = rng.random(8_000) < 1 / (1 + np.exp(-(truth + 1.5 * (table["country"] == "FR"))))
logit = 1.6 * truth

found = torchbce.explain(logit, y, from_logits=True, features=table, top=3)

# %%
# What to conclude, first:

print(found.verdict)

# %%
# The items that cost most. A handful of them is worth a look: are the labels right?

print(found.table)

# %%
# What the number means, a line for each thing that is known.

print(found.meaning)

# %%
# The ledger is an account that adds up: what the base rate costs, less what separation earns, plus what
# miscalibration loses. The reliability diagram shows the last part: outside of the band, probabilities are wrong.

figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
LedgerDisplay.from_explanation(found).plot(axes[0])
ReliabilityDisplay.from_explanation(found).plot(axes[1])
LossHistogramDisplay.from_explanation(found).plot(axes[2])
plt.show()

# %%
# Which part of the data has more loss than the model's own probabilities promise? All slices by one or two columns
# are looked at, and the bounds allow for that.

for one in found.slices.found[:3]:
    low, high = one.excess_interval
    print(f"{one.name}: {one.mean:.3f} nats per item, {one.expected:.3f} promised, {low:+.3f} to {high:+.3f} more")

# %%
# ``found.to_html("report.html")`` makes a page of all this; its items can be dragged along the curve of the loss.
