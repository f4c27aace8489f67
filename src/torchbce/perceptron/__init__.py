"""Training of a perceptron in compiled code: an epoch is one call, on one thread, without Python.

encode -> dense layers -> logits -> the formula's slope -> backward -> the optimiser. Matrix products are BLAS's, from
scipy; everything else is compiled here. `trainer` makes the calls, `arguments` says how a call's arguments lie in
memory, and `step` is the loop that is called.
"""
