"""Download from untrusted hosts: address checks, robots.txt, rate limits, retries. Without TensorFlow and Spark."""
