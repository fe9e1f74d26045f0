"""The contract: events that the Haraka plugin publishes, and the accounting fields made of them."""
