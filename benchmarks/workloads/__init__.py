"""What suites run: example jobs, simulated runs, recorded answers, polls in subprocesses, students."""
