"""Each loss for ONE item, written once as ordinary Python.

The functions here name `exp`, `log`, `where` ... without saying whose. An engine lends them its own: `bind` returns a
copy of a formula whose globals are that engine's vocabulary. So one text is plain torch operations in `reference`, a
compiled loop in `kernels.cpu` and a GPU kernel in `kernels.gpu`, and the engines cannot drift apart.

x is the input (a probability or a logit), y the target; what follows are the loss's parameters, whose defaults leave it
as it is without them. A formula's derivatives are named after it: `_dx` by the input, `_dy` by the target, `_dxx` and
`_dxy` the second ones. Those that are not written down are derived (`derive`).
"""
