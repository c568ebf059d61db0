"""Links: up to eight paths to each peer, their state, MTU and fragments."""
