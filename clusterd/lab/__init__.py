"""Real clusters of real daemons on one host's loopback addresses, without root: `clusterctl lab`."""
