"""Training of a perceptron in compiled code: an epoch is one call, which runs on one thread without Python.

encode -> dense layers -> logits -> the formula's slope -> the way back -> the optimiser. Matrix products are BLAS's
(scipy's), everything else is compiled here. `words` says how a call's arguments lie in memory, `machine` makes calls.
"""
