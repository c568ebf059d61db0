"""Files under the pure quorum core."""
