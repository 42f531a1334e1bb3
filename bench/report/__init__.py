"""Everything that is built from run records, and from nothing else.

``load`` reads the records of a grid once; ``tables``, ``figures``, ``leaderboard``, ``values`` and
``paper`` each have ``build(results, out_dir) -> list of paths``, which write below ``out_dir``
(``results/<grid>``) whole files or none, the same bytes from the same records.  A record that is
missing or unsound is named and counted wherever it would have entered; the rest still builds.
"""
