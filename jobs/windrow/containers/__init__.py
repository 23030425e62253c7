"""The stack in containers: docker/compose.yaml brought up and down, and the demo inside it."""
