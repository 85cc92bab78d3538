"""Messages of graphs and saved models: nodes with attributes, functions, signatures, the object graph.

Reference: https://github.com/tensorflow/tensorflow/tree/master/tensorflow/core/protobuf
"""

from __future__ import annotations

from lamina.wire.bundle import SaverDef
from lamina.wire.proto import declare
from lamina.wire.tensor import TensorProto

_graph = declare(
    "graph",
    """
    message NameAttrList {
      string name = 1;
      map<string, AttrValue> attr = 2;
    }
    message ListValue {
      repeated bytes s = 2;
      repeated int64 i = 3;
      repeated float f = 4;
      repeated bool b = 5;
      repeated int32 type = 6;
      repeated TensorShapeProto shape = 7;
      repeated TensorProto tensor = 8;
      repeated NameAttrList func = 9;
    }
    message AttrValue {
      oneof value {
        ListValue list = 1;
        bytes s = 2;
        int64 i = 3;
        float f = 4;
        bool b = 5;
        int32 type = 6;
        TensorShapeProto shape = 7;
        TensorProto tensor = 8;
        string placeholder = 9;
        NameAttrList func = 10;
      }
    }
    message NodeDef {
      string name = 1;
      string op = 2;
      repeated string input = 3;
      string device = 4;
      map<string, AttrValue> attr = 5;
    }
    message ArgDef {
      string name = 1;
      string description = 2;
      int32 type = 3;
      string type_attr = 4;
      string number_attr = 5;
      string type_list_attr = 6;
      bool is_ref = 16;
    }
    message OpDef {
      string name = 1;
      repeated ArgDef input_arg = 2;
      repeated ArgDef output_arg = 3;
      bool is_stateful = 17;
    }
    message FunctionDef {
      OpDef signature = 1;
      repeated NodeDef node_def = 3;
      map<string, string> ret = 4;
      map<string, AttrValue> attr = 5;
      map<string, string> control_ret = 6;
    }
    message FunctionDefLibrary {
      repeated FunctionDef function = 1;
    }
    message GraphDef {
      repeated NodeDef node = 1;
      FunctionDefLibrary library = 2;
      VersionDef versions = 4;
    }
    """,
    imports=[TensorProto],
)
_saved = declare(
    "saved_model",
    """
    message NodeList {
      repeated string value = 1;
    }
    message BytesCollection {
      repeated bytes value = 1;
    }
    message CollectionDef {
      oneof kind {
        NodeList node_list = 1;
        BytesCollection bytes_list = 2;
      }
    }
    message TensorInfo {
      string name = 1;
      int32 dtype = 2;
      TensorShapeProto tensor_shape = 3;
    }
    message SignatureDef {
      map<string, TensorInfo> inputs = 1;
      map<string, TensorInfo> outputs = 2;
      string method_name = 3;
    }
    message AssetFileDef {
      TensorInfo tensor_info = 1;
      string filename = 2;
    }
    message ObjectReference {
      int32 node_id = 1;
      string local_name = 2;
    }
    message SavedAsset {
      int32 asset_file_def_index = 1;
    }
    message SavedVariable {
      int32 dtype = 1;
      TensorShapeProto shape = 2;
      bool trainable = 3;
      string name = 6;
    }
    message SavedConstant {
      string operation = 1;
    }
    message SavedResource {
      string device = 1;
    }
    message CapturedTensor {
      string name = 1;
      string concrete_function = 2;
    }
    message SavedBareConcreteFunction {
      string concrete_function_name = 1;
    }
    message SavedObject {
      repeated ObjectReference children = 1;
      repeated ObjectReference dependencies = 15;
      oneof kind {
        SavedAsset asset = 5;
        SavedVariable variable = 7;
        SavedBareConcreteFunction bare_concrete_function = 8;
        SavedConstant constant = 9;
        SavedResource resource = 10;
        CapturedTensor captured_tensor = 12;
      }
    }
    message SavedConcreteFunction {
      repeated int32 bound_inputs = 2;
    }
    message SavedObjectGraph {
      repeated SavedObject nodes = 1;
      map<string, SavedConcreteFunction> concrete_functions = 2;
    }
    message VariableDef {
      string variable_name = 1;
      string initializer_name = 2;
      string snapshot_name = 3;
      bool is_resource = 5;
      string initial_value_name = 6;
      bool trainable = 7;
    }
    message MetaInfoDef {
      string meta_graph_version = 1;
      repeated string tags = 4;
      string tensorflow_version = 5;
      string tensorflow_git_version = 6;
      bool stripped_default_attrs = 7;
    }
    message MetaGraphDef {
      MetaInfoDef meta_info_def = 1;
      GraphDef graph_def = 2;
      SaverDef saver_def = 3;
      map<string, CollectionDef> collection_def = 4;
      map<string, SignatureDef> signature_def = 5;
      repeated AssetFileDef asset_file_def = 6;
      SavedObjectGraph object_graph_def = 7;
    }
    message SavedModel {
      int64 saved_model_schema_version = 1;
      repeated MetaGraphDef meta_graphs = 2;
    }
    """,
    imports=[TensorProto, SaverDef, _graph["GraphDef"]],
)

AttrValue = _graph["AttrValue"]
ListValue = _graph["ListValue"]
NameAttrList = _graph["NameAttrList"]
NodeDef = _graph["NodeDef"]
FunctionDef = _graph["FunctionDef"]
GraphDef = _graph["GraphDef"]
TensorInfo = _saved["TensorInfo"]
SignatureDef = _saved["SignatureDef"]
VariableDef = _saved["VariableDef"]
SavedObjectGraph = _saved["SavedObjectGraph"]
MetaGraphDef = _saved["MetaGraphDef"]
SavedModel = _saved["SavedModel"]
