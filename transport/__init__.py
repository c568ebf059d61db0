"""Datagrams in, ordered messages out: links, security, the Totem ring, groups."""
