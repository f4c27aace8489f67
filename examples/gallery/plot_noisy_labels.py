"""
Wrong labels: how many, and which
=================================

An item whose prediction contradicts its label with confidence costs much. Is the model wrong, or the label? Here
the truth is known: of 4,000 labels 6 % are flipped, and ``find_label_errors`` is asked how many there are, and
where.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict

import torchbce

# %%
# Two groups of points that hardly overlap, and flipped labels.

rng = np.random.default_rng(0)
truth = rng.random(4_000) < 0.5
X = rng.normal(size=(4_000, 2)) + 3.2 * truth[:, None]
flipped = rng.random(4_000) < 0.06
labels = np.where(flipped, ~truth, truth).astype(int)

# %%
# Predictions must be out of fold: a model that has learnt a wrong label no longer contradicts it.

probability = cross_val_predict(LogisticRegression(), X, labels, cv=5, method="predict_proba")[:, 1]
found = torchbce.find_label_errors(probability, labels, from_logits=False, top=300)
print("\n".join(str(found).splitlines()[:6]), "\n...")
low, high = found.interval
print(f"estimated {found.expected_count:.0f} wrong labels ({low:.0f} to {high:.0f}); in truth {flipped.sum()}")

# %%
# The list is to be looked at, from the top. How many of the first k are wrong in truth?

suspects = np.array([suspect.row for suspect in found.items]) - 1
right = np.cumsum(flipped[suspects])
for k in (50, 100, 200):
    print(f"of the first {k}: {right[k - 1]} are wrong")

# %%
figure, axes = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
for value, colour in ((0, "#2f6fb5"), (1, "#c05f00")):
    chosen = labels == value
    axes[0].scatter(*X[chosen].T, s=4, color=colour, label=f"labelled {value}")
axes[0].scatter(*X[suspects[:100]].T, s=40, facecolors="none", edgecolors="black", label="the first 100 suspects")
axes[0].legend()
axes[0].set_title("the items")
axes[1].plot(range(1, len(right) + 1), right, label="wrong labels among them")
axes[1].plot([0, len(right)], [0, len(right)], "--", color="grey", label="all of them")
axes[1].set(xlabel="suspects looked at", ylabel="wrong labels found")
axes[1].legend()
plt.show()
