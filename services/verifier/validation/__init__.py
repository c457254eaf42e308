"""Cryptographic validation from the bytes up: DER, certificates, paths, status, CMS, timestamps, levels, verdict."""
