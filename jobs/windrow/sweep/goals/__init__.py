"""A search for two goals: a validation metric, and a cost of the network that is to be low."""
