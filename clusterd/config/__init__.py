"""corosync.conf: text to typed configuration, all errors at once."""
