"""What each job can be told: one frozen model a verb, each parameter stated once."""
