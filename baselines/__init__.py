"""The methods of hypercoop: algorithms x parameter schemes, behind the harness's interfaces."""
