"""The model wing of Prefloop: records → tokens → batches → models → losses → recipes → artifacts. Never imports Django.

Importing this package, `training.records` or `training.config` does not import torch.
"""
