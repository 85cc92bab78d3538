"""Feature columns: rules that turn features, as they come, into the input of a model.

The names, arguments and hashes are those of `tf.feature_column`. Columns work in two parts: `transform_host` maps the
features of a batch to numbers (strings to ids) on the host, `input_layer`, `linear_model` and `sequence_input_layer`
make model input of those numbers in the compiled step.
"""

# ruff: noqa: F401
from lamina.core.fingerprint import fingerprint64
from lamina.estimators.feature_columns.categorical import (
    categorical_column_with_hash_bucket,
    categorical_column_with_identity,
    weighted_categorical_column,
)
from lamina.estimators.feature_columns.column import (
    CategoricalColumn,
    DenseColumn,
    FeatureColumn,
    Ids,
    SequenceColumn,
    transform_host,
)
from lamina.estimators.feature_columns.crossed import crossed_column
from lamina.estimators.feature_columns.embedding import (
    combine_rows,
    embedding_column,
    indicator_column,
    shared_embeddings,
)
from lamina.estimators.feature_columns.inference import Standardize, as_features, infer_columns, summary_rows
from lamina.estimators.feature_columns.inputs import (
    DenseFeatures,
    SequenceFeatures,
    concatenate_context_input,
    input_layer,
    linear_model,
    sequence_input_layer,
)
from lamina.estimators.feature_columns.numeric import bucketized_column, numeric_column
from lamina.estimators.feature_columns.parsing import (
    classifier_parse_example_spec,
    make_parse_example_spec,
    regressor_parse_example_spec,
)
from lamina.estimators.feature_columns.sequence import (
    sequence_categorical_column_with_hash_bucket,
    sequence_categorical_column_with_identity,
    sequence_categorical_column_with_vocabulary_file,
    sequence_categorical_column_with_vocabulary_list,
    sequence_numeric_column,
)
from lamina.estimators.feature_columns.vocabulary import (
    categorical_column_with_vocabulary_file,
    categorical_column_with_vocabulary_list,
    remap_rows,
)
