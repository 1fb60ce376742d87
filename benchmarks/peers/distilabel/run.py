"""Asks an endpoint about every row with a pipeline of distilabel, which gives its answers when it is over."""

import os

from peer_job import AnswerLog, api_key, read_job

if __name__ == "__main__":  # its steps are processes that import this file again
    job = read_job()
    os.environ["DISTILABEL_CACHE_DIR"] = str(job.folder / "cache")

    from distilabel.models.llms import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import ChatGeneration

    sampling = {"temperature": job.temperature, "top_p": job.top_p, "max_new_tokens": job.max_tokens}
    sampling["extra_body"] = {"structured_outputs": job.constraint}
    with Pipeline(name="peers", cache_dir=job.folder / "cache") as pipeline:
        rows = [{"row_id": row["id"], "messages": row["messages"]} for row in job.rows]
        load = LoadDataFromDicts(data=rows, batch_size=job.in_flight)
        chat = ChatGeneration(
            llm=OpenAILLM(
                model=job.model, base_url=job.endpoint, api_key=api_key(), generation_kwargs=sampling, timeout=1800
            ),
            num_generations=job.samples,
            group_generations=True,
            input_batch_size=job.in_flight,
            add_raw_input=False,
            add_raw_output=False,
        )
        load >> chat
    answers = AnswerLog(job)
    for row in pipeline.run(use_cache=True)["default"]["train"]:
        texts = row["generation"] if isinstance(row["generation"], list) else [row["generation"]]
        for sample, text in enumerate(texts):
            if text is not None:
                answers.write(row["row_id"], sample, text)
