"""Real things to test against, without Docker: Apache Kafka, PostgreSQL and an S3 server on loopback; veraPDF."""
