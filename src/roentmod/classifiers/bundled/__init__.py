"""Networks that come with the package, beside their weights."""
