"""Download from untrusted hosts: addresses, robots.txt, rate limits, retries. Without TensorFlow and Spark."""
