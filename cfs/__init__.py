"""The replicated store: ordered operations in, the same tree on every node out."""
