"""clusterctl: commands over the local socket."""
