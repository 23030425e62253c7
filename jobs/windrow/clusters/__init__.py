"""Jobs on a cluster that may have no room for them."""
