"""Ready data sets: small ones embedded, larger ones fetched on first use."""
