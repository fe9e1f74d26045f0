"""Commands of `haraka-accounting` that look at what is in Redis, each with how it is shown."""
