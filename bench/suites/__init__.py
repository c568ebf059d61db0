"""One module per suite; each has `run(options, report)`."""
