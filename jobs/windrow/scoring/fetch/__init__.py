"""Download images from hostile hosts: addresses, robots rules, turns, retries. No TensorFlow, no Spark."""
