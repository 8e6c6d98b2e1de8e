"""The node: what `outhaul up` keeps running on one machine. Kept processes and replicas, started again when they die.

`state` and the three plan modules are pure: what is wanted and what was seen → what to do. `daemon` does it.
"""
