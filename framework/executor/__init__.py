"""Running jitted steps: the lease on variables, the feed, programs of many steps a call."""
