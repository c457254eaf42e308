"""The only rooms of this service that know a library, a file format or the network."""
