"""What people see, in their words, and which checks look for its causes, the likeliest first; see index.py."""

from __future__ import annotations

SYMPTOMS: dict[str, dict[str, tuple[str, ...]]] = {
    "The loss does not move": {
        "The loss is stuck at 0.693": ("BCE020", "BCE004", "BCE003", "BCE016", "BCE018", "BCE017", "BCE013"),
        "The loss is stuck at another value, the cost of the base rate": ("BCE020", "BCE015", "BCE027", "BCE003"),
        "The loss is the same in every epoch, to the last digit": ("BCE020", "BCE017", "BCE018", "BCE016", "BCE006"),
        "The loss falls a little and stays near 0.5": ("BCE004", "BCE003"),
        "The loss stays above the cost of the base rate": ("BCE035", "BCE004", "BCE011"),
        "Not even a few items can be learnt": ("BCE013", "BCE014", "BCE016"),
        "With rare events the first epochs are lost": ("BCE012",),
    },
    "The loss is impossible or an error": {
        "The loss is NaN or infinite": ("BCE002", "BCE021", "BCE010"),
        "The loss is negative": ("BCE001", "BCE021", "BCE007"),
        "The loss is exactly 0 from the start": ("BCE006", "BCE033"),
        "The call of the loss raises an error": ("BCE032", "BCE005", "BCE001"),
        "An error says that the input must lie between 0 and 1": ("BCE005", "BCE029"),
        "The first loss is far above 0.7": ("BCE011", "BCE010", "BCE008"),
        "Some items cost 100 each": ("BCE010", "BCE031"),
    },
    "The loss rises": {
        "The training loss rises or jumps up": ("BCE034", "BCE018", "BCE002"),
        "The loss went up at the start of a late epoch": ("BCE034", "BCE022"),
        "The validation loss rises while the training loss falls": ("BCE026", "BCE028"),
    },
    "The printed number is odd": {
        "The printed loss grows with the number of batches": ("BCE022", "BCE021", "BCE008"),
        "The printed training loss is lower or higher than the true one": ("BCE022", "BCE024", "BCE023"),
        "The validation loss is below the training loss": ("BCE025", "BCE023", "BCE030"),
        "Training and validation loss differ by a constant factor": ("BCE023", "BCE008"),
        "The loss changes with the number of processes": ("BCE024", "BCE022"),
        "The best learning rate changes with the batch size": ("BCE008", "BCE003"),
        "One wrong item changes everybody's gradient": ("BCE003", "BCE009"),
    },
    "The predictions are odd": {
        "All predictions are the same": ("BCE015", "BCE027", "BCE033"),
        "Only zeros are predicted": ("BCE033", "BCE012", "BCE027"),
        "All probabilities lie between 0.5 and 0.73": ("BCE029", "BCE004"),
        "The ranking is good and the loss is bad": ("BCE028", "BCE029"),
        "The AUC is below 0.5": ("BCE029", "BCE007"),
        "The model is worse than always answering the base rate": ("BCE027", "BCE028"),
        "The model is too sure of itself": ("BCE028", "BCE026"),
        "The probabilities are all too high after pos_weight": ("BCE028", "BCE007", "BCE009"),
        "The results are too good to be true": ("BCE030",),
        "A few items carry most of the loss": ("BCE031", "BCE014"),
        "A prediction changes with the batch that it is in": ("BCE019",),
        "Some layers do not learn": ("BCE016", "BCE017"),
    },
}
