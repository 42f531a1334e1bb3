"""What is done to generated weights, to their gradients, and to the hypernetwork after a step.

- ``bound``: no generated matrix has a singular value beyond a limit;
- ``clipping``: no agent's layer sends back a gradient beyond a limit;
- ``shrinkage``: weight decay and proximal L1 draw the agents together;
- ``schedule``: what is generated fades in, and per-agent residuals join later.
"""
