"""What the machine and its processes are: memory, cores, sensors, devices, environment."""
