"""Membership in, quorate or not out."""
