"""Two sets of predictions of the same items, or one model in two periods: what differs, and was it luck?"""
