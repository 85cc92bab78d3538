"""Boosted trees: gradient boosting on histograms, with the arguments of tf.estimator's BoostedTrees."""
