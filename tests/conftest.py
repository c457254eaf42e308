"""Fixtures that every test may ask for."""

from tests.support.real import real_kafka, real_postgres, real_s3
from tests.support.tokens import soft_token

__all__ = ["real_kafka", "real_postgres", "real_s3", "soft_token"]
