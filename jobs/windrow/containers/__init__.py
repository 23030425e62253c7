"""Run the stack in containers: start and stop docker/compose.yaml, and run the demo inside it."""
