"""The command `antin`: composes the services into one process and talks to people. It alone sees all other rooms."""
