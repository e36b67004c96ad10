"""The documents that outlive a run; no file or socket is opened here."""
