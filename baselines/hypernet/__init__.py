"""Hypernetworks: networks that generate the agents' weights (Ha, Dai and Le 2017).

One is put together from choices, each of which is a line of options in ``config/methods.yaml``:

- ``options``: the choices, what each means, and which go together;
- ``conditioning``: what is known of an agent, e_i;
- ``code``: h_i = RMSnorm(ReLU(A e_i)), what its weights are generated from;
- ``generators``: how weights come from a code: dense, chunked, grouped, low-rank, core, sparse;
- ``branches``: one hypernetwork, or one for each module of the target network;
- ``targets``: which layers are generated, and what they are added to;
- ``initialisation``: at what scale all of it starts;
- ``stabilisers``: what is done to generated weights and to their gradients;
- ``replay``: generated weights that are kept, and held on to;
- ``scheme``: the composition.  Its VERSION stands for all of these files.

Apart from these, ``products``, ``grouped`` and ``fused_triton`` multiply by generated weights
without forming them: `hypercoop speed` times them against what every method here does, which is to
form them first, and docs/speed.md says where they win.
"""
