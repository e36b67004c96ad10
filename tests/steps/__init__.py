"""Parts of the steps by themselves."""
