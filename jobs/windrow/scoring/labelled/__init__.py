"""A feed with a label column as the data set: its images are downloaded as scoring does, and kept."""
