"""The benchmark: our mount against peers and the bare protocol, in one run (see README.md)."""
