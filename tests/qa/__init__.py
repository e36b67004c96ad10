"""QA's part: what was loaded, what was tested."""
