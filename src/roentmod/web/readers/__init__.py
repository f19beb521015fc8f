"""The reader study in a browser: readers answer, an administrator looks on, no truth is there."""
