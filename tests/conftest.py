"""Fixtures that every test may ask for."""

from tests.support.real import database_url, real_kafka, real_postgres, real_s3
from tests.support.tokens import soft_token

__all__ = ["database_url", "real_kafka", "real_postgres", "real_s3", "soft_token"]
