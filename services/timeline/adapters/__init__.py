"""The only place of the timeline that knows a library."""
