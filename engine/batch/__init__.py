"""Files of the OpenAI Batch API and of `vllm run-batch`: requests in, responses out."""
