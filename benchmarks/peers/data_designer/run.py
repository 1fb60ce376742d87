"""Asks an endpoint about every row with NeMo Data Designer: each sample is a column of its own."""

import os

import pandas as pd
from peer_job import AnswerLog, api_key, read_job

job = read_job()
os.environ.setdefault("OPENAI_API_KEY", api_key())
os.environ["DATA_DESIGNER_HOME"] = str(job.folder / "home")

import data_designer.config as dd  # noqa: E402
from data_designer.config.run_config import ResumeMode, RunConfig  # noqa: E402
from data_designer.interface import DataDesigner  # noqa: E402

provider = dd.ModelProvider(name="endpoint", endpoint=job.endpoint, provider_type="openai", api_key="OPENAI_API_KEY")
parameters = dd.ChatCompletionInferenceParams(
    temperature=job.temperature,
    top_p=job.top_p,
    max_tokens=job.max_tokens,
    max_parallel_requests=job.in_flight,
    timeout=1800,
    extra_body={"structured_outputs": job.constraint},
)
model = dd.ModelConfig(
    alias="labels", model=job.model, provider="endpoint", inference_parameters=parameters, skip_health_check=True
)
builder = dd.DataDesignerConfigBuilder(model_configs=[model])
system = job.rows[0]["messages"][0]["content"]
rows = [{"row_id": row["id"], "user": row["messages"][-1]["content"]} for row in job.rows]
builder.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame(rows)))
for sample in range(job.samples):
    builder.add_column(
        dd.LLMTextColumnConfig(name=f"answer_{sample}", prompt="{{ user }}", system_prompt=system, model_alias="labels")
    )
designer = DataDesigner(artifact_path=job.folder / "artifacts", model_providers=[provider])
settings = RunConfig(otel_metrics_port=None)
if "buffer_size" in job.options:
    settings = RunConfig(otel_metrics_port=None, buffer_size=job.options["buffer_size"], disable_early_shutdown=True)
designer.set_run_config(settings)
answers = AnswerLog(job)
resume = ResumeMode.IF_POSSIBLE if job.options else ResumeMode.NEVER
created = designer.create(builder, num_records=len(rows), dataset_name="answers", resume=resume)
for row in created.load_dataset().to_dict("records"):
    for sample in range(job.samples):
        answers.write(str(row["row_id"]), sample, str(row[f"answer_{sample}"]))
