"""The harness of hypercoop: tasks, replay, training, evaluation, records, statistics and reports.

It knows no method: methods are named by import path in ``config/methods.yaml`` and are reached
through the interfaces in :mod:`bench.interfaces`.
"""
