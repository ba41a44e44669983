"""``kubectl disagg convert``: from Dynamo's DynamoGraphDeployment to a DisaggDeployment.

`command_line.py` is the command, with all effects; everything else is pure. `conversion.py` is its entry: it
reads the graph (`graph.py`), finds the roles (`roles.py`), has one module write each part of the resource
(`draft.py`), and says in the end what became of every field of the input (`ledger.py`).
"""
