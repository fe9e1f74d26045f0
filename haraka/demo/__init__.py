"""A whole laboratory on one machine: a scripted SMTP sink, a real Haraka with the plugin, the server and a worker."""
