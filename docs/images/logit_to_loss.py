"""Draws logit -> probability -> loss, for targets 1 and 0: python docs/images/logit_to_loss.py"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

FILE = Path(__file__).with_suffix(".svg")
RIGHT, WRONG = "#2f6fb5", "#c05f00"

if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "torchbce"  # the same bytes for the same picture
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    z = np.linspace(-6, 6, 241)
    left.plot(z, 1 / (1 + np.exp(-z)), color="black")
    left.set(xlabel="logit z", ylabel="probability p of a 1", title="1. The sigmoid makes a probability of a logit")
    for logit in (-2.0, 0.0, 2.0):
        p = 1 / (1 + np.exp(-logit))
        left.plot([logit], [p], "o", color=RIGHT)
        left.annotate(f"z = {logit:g}: p = {p:.2f}", (logit, p), textcoords="offset points", xytext=(8, -4))
    right.plot(z, np.logaddexp(0, -z), color=RIGHT, label="target 1: -log p")
    right.plot(z, np.logaddexp(0, z), color=WRONG, label="target 0: -log(1 - p)")
    right.plot([0], [np.log(2)], "o", color="black")
    words = "p = 0.5 costs log 2 = 0.693"
    right.annotate(words, (0, np.log(2)), xytext=(0, 3.7), ha="center", arrowprops={"arrowstyle": "-", "color": "grey"})
    right.set(xlabel="logit z", ylabel="loss of the item, nats", title="2. Minus its logarithm is the loss")
    right.legend(loc="upper center")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FILE, metadata={"Date": None, "Creator": None})
