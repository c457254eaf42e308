"""Where the notifier knows a library: SQL, sealing, HTTP, the loop that delivers."""
