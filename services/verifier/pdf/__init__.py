"""A bounded, tolerant PDF reader of the verifier's own, and what later revisions did to a signed document."""
