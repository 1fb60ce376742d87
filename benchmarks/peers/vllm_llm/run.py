"""Asks vllm.LLM about every row. It answers when a pass is over, so answers are written then."""

import os

from peer_job import AnswerLog, read_job

if __name__ == "__main__":  # the engine's process imports this file again
    job = read_job()
    options = job.options
    if options["tuned"]:
        os.environ.update(job.environment)

    from vllm import LLM, SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    llm = LLM(job.model, **(job.engine if options["tuned"] else {}))
    sampling = {"temperature": job.temperature, "top_p": job.top_p, "max_tokens": job.max_tokens}
    sampling |= options.get("sampling", {})
    if options["constrained"]:
        sampling["structured_outputs"] = StructuredOutputsParams(**job.constraint)
    conversations = [row["messages"] for row in job.rows]
    passes = 1 if options["one_pass"] else job.samples
    answers = AnswerLog(job)
    for each in range(passes):
        params = SamplingParams(n=job.samples if options["one_pass"] else 1, **sampling)
        for row, output in zip(job.rows, llm.chat(conversations, params, use_tqdm=False), strict=True):
            for completion in output.outputs:
                answers.write(row["id"], each + completion.index, completion.text)
