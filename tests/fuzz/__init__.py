"""Generated and mutated archives and manifests, read by us and by the Go programs that customers use."""
