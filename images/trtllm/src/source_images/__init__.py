"""Makes or names NVIDIA's TensorRT-LLM images as NVIDIA's own pages say for each era of Dynamo.

What the pages say is data (`eras.yaml`). `planner` decides from it and from what was observed, and is pure;
`checkout`, `wheel` and `machine` observe; `main` prints the plan or runs it. Nothing here knows the operator.
"""
