"""Certificates: lower bounds of a network's margin over all images within eps of one, in Linf.

The margin is the label's logit minus the largest other, which is minus `robustnb.metrics.margin`:
where its lower bound is positive, no attack within eps can succeed. For every image

    margin at an attacked image >= exact smallest margin >= CROWN >= intervals.

Images are in [0, 1], and so are all that a bound speaks of; eps is in the same units.

What rounding leaves open: a bound is computed in float64, from weights that are converted to it, as
if sums were exact. It may be off by the last digits of float64, and says nothing of how a network
in float32 rounds its own sums, in an order that depends on the machine: that can move logits by
about 1e-6 of their size. A margin bound as small as this is no certificate.
"""
