"""The public names: the facade, its namespaces, and that importing it loads nothing heavy."""

import importlib
import subprocess
import sys

import pytest

import lamina

NAMES = {
    "lamina": "Functional Initializer Input InputSpec KerasTensor Layer Loss Metric Model Optimizer Regularizer "
    "Sequential Variable DTypePolicy config utils saving random backend",
    "lamina.backend": "backend clear_session epsilon floatx is_float_dtype is_int_dtype is_keras_tensor "
    "image_data_format set_epsilon set_floatx set_image_data_format standardize_dtype Variable",
    "lamina.config": "backend dtype_policy epsilon floatx image_data_format set_dtype_policy set_epsilon set_floatx "
    "set_image_data_format",
    "lamina.dtype_policies": "DTypePolicy deserialize get serialize",
    "lamina.mixed_precision": "DTypePolicy LossScaleOptimizer Policy dtype_policy global_policy set_dtype_policy "
    "set_global_policy",
    "lamina.models": "Functional Model Sequential clone_model model_from_config model_from_json",
    "lamina.random": "SeedGenerator normal uniform",
    "lamina.saving": "CustomObjectScope custom_object_scope deserialize_keras_object get_custom_objects "
    "get_registered_name get_registered_object register_keras_serializable serialize_keras_object",
    "lamina.utils": "CustomObjectScope Progbar PyDataset Sequence clear_session model_to_dot normalize pad_sequences "
    "plot_model set_random_seed split_dataset to_categorical unpack_x_y_sample_weight image_dataset_from_directory",
}


@pytest.mark.parametrize("module", NAMES)
def test_names(module):
    loaded = importlib.import_module(module)
    missing = [name for name in NAMES[module].split() if not hasattr(loaded, name)]
    assert not missing
    if module != "lamina":
        assert all(hasattr(loaded, name) for name in getattr(loaded, "__all__", []))


def test_every_name_of_the_facade_loads():
    for name in lamina.__all__:
        assert getattr(lamina, name) is not None
        assert name in dir(lamina)
    with pytest.raises(AttributeError, match="module 'lamina' has no attribute 'Modle'"):
        lamina.Modle  # noqa: B018


def test_import_loads_nothing_heavy():
    code = "import sys, lamina; print([m for m in ('jax', 'numpy', 'optax', 'tqdm') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_settings():
    assert lamina.config.backend() == "jax" and lamina.backend.is_int_dtype("int8")
    lamina.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert lamina.layers.Dense(2).compute_dtype == "bfloat16"
        assert lamina.mixed_precision.global_policy().name == "mixed_bfloat16"
    finally:
        lamina.mixed_precision.set_global_policy("float32")
    with pytest.raises(ValueError, match="'float33'"):
        lamina.config.set_floatx("float33")
    policy = lamina.dtype_policies.get("mixed_float16")
    assert lamina.dtype_policies.deserialize(lamina.dtype_policies.serialize(policy)) == policy
    assert lamina.backend.is_keras_tensor(lamina.Input((2,))) and not lamina.backend.is_keras_tensor(3)


def test_clear_session_leaves_models_usable():
    model = lamina.Sequential([lamina.Input((2,)), lamina.layers.Dense(1)])
    before = model.predict([[1.0, 2.0]], verbose=0)
    lamina.utils.clear_session()
    assert (model.predict([[1.0, 2.0]], verbose=0) == before).all()
