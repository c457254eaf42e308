"""What knows a library or the network."""
