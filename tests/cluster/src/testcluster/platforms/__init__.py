"""Platforms without their hardware: machines that the scheduler believes in, beside NVIDIA's own controller.

Real are the API server, the scheduler, the controller manager, and compute-domain-controller with its chart's
device classes. Simulated are the machines and their kubelets (KWOK), their devices, and the daemons of a
ComputeDomain (`simulate_daemons`).
"""
