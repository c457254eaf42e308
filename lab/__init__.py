"""The outside world as a declared toy, for the demo and the tests; the product never imports it."""
