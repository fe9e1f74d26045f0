"""What several kinds of tests share: events, publishers, workers, servers, and reading files back."""
