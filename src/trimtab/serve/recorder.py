"""The recorder process: from the append log into the store."""
