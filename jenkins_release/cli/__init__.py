"""The command line: the only code that prints or sets an exit status."""
