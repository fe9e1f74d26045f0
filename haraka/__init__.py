"""The Haraka side: its plugin (npm), and a demo that runs the whole way of an event."""
