"""What suites measure: prompts, processes, hosts and students made for the purpose."""
