"""The others, measured beside ours: each behind a few lines of its own, none of them part of the product."""
