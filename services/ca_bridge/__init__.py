"""Identity to binding: certificates that live and die with the e-identity."""
