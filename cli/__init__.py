"""The command `antin`: composes the services into one process and talks to people. The only room that sees all others."""
