"""Jobs on a cluster or in a container that may have no room for them."""
