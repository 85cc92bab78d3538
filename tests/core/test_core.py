"""Checks, nested structures, dtypes, registry and configuration."""

from collections import namedtuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamina.core import checks, dtypes, registry, settings
from lamina.core.config import Configurable, deserialize_object, serialize_object
from lamina.core.nest import assert_same_structure, flatten, flatten_with_path, map_structure, pack

structures = st.recursive(
    st.integers(), lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=2), c, max_size=3), max_leaves=8
)


@given(structures)
def test_flatten_and_pack_are_inverse(structure):
    leaves = flatten(structure)
    assert pack(structure, leaves) == structure
    assert [v for _, v in flatten_with_path(structure)] == leaves
    doubled = map_structure(lambda v: 2 * v, structure)
    assert flatten(doubled) == [2 * v for v in leaves]
    assert_same_structure(structure, doubled)


def test_dicts_flatten_by_sorted_key_and_keep_their_order():
    Point = namedtuple("Point", "x y")
    structure = {"b": Point(1, [2]), "a": None, "c": (3,)}
    assert flatten(structure) == [1, 2, 3]
    packed = pack(structure, [10, 20, 30])
    assert list(packed) == ["b", "a", "c"] and packed["b"] == Point(10, [20]) and packed["a"] is None
    with pytest.raises(ValueError, match=r"differ at \['b'\]"):
        assert_same_structure(structure, {**structure, "b": 1})
    with pytest.raises(ValueError, match="3 places, got 2"):
        pack(structure, [1, 2])


@pytest.mark.parametrize(
    "check, fragment",
    [
        (lambda: checks.check_choice("Conv2D 'stem'", "padding", "SAEM", ["same", "valid"]), "Did you mean 'same'?"),
        (lambda: checks.check_int("Dense", "units", 2.5, 1), "must be an integer of at least 1, got 2.5 (float)"),
        (lambda: checks.check_int("Dense", "units", True), "got True (bool)"),
        (lambda: checks.check_number("Dropout", "rate", 2, 0, 1), "between 0 and 1, got 2"),
        (lambda: checks.check_number("Dropout", "rate", float("nan"), 0), "got nan"),
        (lambda: checks.check_ints("Conv2D", "strides", (1, 2, 3), 2), "tuple of 2 integers"),
        (lambda: checks.check_ints("Conv2D", "strides", (1, 0), 2, 1), "strides[1]"),
        (lambda: dtypes.standardize_dtype("flaot32"), "Did you mean 'float32'?"),
        (lambda: dtypes.DTypePolicy("mixed_bfloat"), "Did you mean 'mixed_bfloat16'?"),
        (lambda: settings.set_floatx("int32"), "must be 'bfloat16'"),
    ],
)
def test_messages_name_argument_value_and_cure(check, fragment):
    with pytest.raises((ValueError, TypeError)) as error:
        check()
    assert fragment in str(error.value)


class Base(Configurable):
    def __init__(self, name="base", **kwargs):
        self.name = name
        self.rest = kwargs


@registry.register_serializable("tests")
class Child(Base):
    def __init__(self, size, *, rate=0.5, values=None, **kwargs):
        super().__init__(**kwargs)
        self.size = str(size)  # an attribute may mean something else than the argument


def test_constructor_arguments_are_captured_once_in_the_base_class():
    child = Child(3, values=np.arange(2), name="own")
    config = child.get_config()
    assert config["size"] == 3 and config["rate"] == 0.5 and config["name"] == "own"
    twin = deserialize_object(serialize_object(child))
    assert type(twin) is Child and twin.get_config() == config
    assert serialize_object(child)["registered_name"] == "tests>Child"


def test_unknown_names_are_refused_without_running_code():
    for bad in (
        {"module": "os", "class_name": "system", "config": {"command": "true"}, "registered_name": None},
        {"module": "builtins", "class_name": "function", "config": "eval", "registered_name": "eval"},
    ):
        with pytest.raises(ValueError, match="register"):
            deserialize_object(bad)
    with pytest.raises(ValueError, match="class_name"):
        deserialize_object({"config": {}})


def test_custom_objects_count_within_their_scope_only():
    with registry.custom_object_scope({"Special": Child}):
        assert registry.get_registered_object("Special") is Child
    assert registry.get_registered_object("Special") is None


def test_policies():
    mixed = dtypes.DTypePolicy("mixed_bfloat16")
    assert (mixed.compute_dtype, mixed.variable_dtype) == ("bfloat16", "float32")
    assert dtypes.get_policy({"class_name": "DTypePolicy", "config": {"name": "mixed_bfloat16"}}) == mixed
    dtypes.set_dtype_policy("mixed_bfloat16")
    try:
        assert dtypes.get_policy(None) == mixed
    finally:
        dtypes.set_dtype_policy("float32")
