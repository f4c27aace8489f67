"""Draws the article's three items on the curve of the loss: python docs/images/three_items.py"""

from pathlib import Path

import torchbce

FILE = Path(__file__).with_suffix(".svg")

if __name__ == "__main__":
    figure = torchbce.explain([0.60, 0.20, 0.70], [1, 0, 1], from_logits=False).plot()
    figure.savefig(FILE, metadata={"Date": None, "Creator": None})
