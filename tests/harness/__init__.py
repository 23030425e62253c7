"""What tests of several rooms build on: web servers, jobs and processes, waiting, and the suite's budget."""
