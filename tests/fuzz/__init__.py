"""Coverage-guided fuzzing: `make fuzz`. A target is a property that holds for any bytes; atheris looks for others."""
