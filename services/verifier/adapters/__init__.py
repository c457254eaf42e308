"""The only place of this service that knows a library or the network."""
