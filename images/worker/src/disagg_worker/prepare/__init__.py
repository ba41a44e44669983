"""Makes the model directory of an image: Hugging Face style files for Dynamo, model.gguf for the engine."""

from disagg_worker.prepare.directory import prepare_model

__all__ = ["prepare_model"]
