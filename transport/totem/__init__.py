"""The Totem single-ring protocol: order, membership, recovery."""
