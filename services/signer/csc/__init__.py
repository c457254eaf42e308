"""The CSC API server: remote signing for other systems (Cloud Signature Consortium API v2.0, names of v1 included)."""
