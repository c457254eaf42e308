"""What every process needs and no business word: clock, database, bus, blobs, web, outbound calls, start and stop."""
