// What the calls in a pickle mean as data, and which of them are refused.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "base/torch.h"
#include "io/pickle.h"

namespace lorikeet {
namespace {

using Make = bool (*)(Pickle& pickle, const PickleNode& arguments, PickleNode& result);

// The items of a single sequence argument; none without arguments.
bool take_items(Pickle& pickle, const PickleNode& arguments, std::vector<PickleRef>& items) {
  if (arguments.items.empty()) return true;
  const PickleNode& from = pickle[arguments.items[0]];
  if (from.kind != PickleKind::list && from.kind != PickleKind::tuple && from.kind != PickleKind::set) return false;
  pickle.charge(from.items.size());
  items = from.items;
  return true;
}

template <PickleKind kind>
bool make_sequence(Pickle& pickle, const PickleNode& arguments, PickleNode& result) {
  result.kind = kind;
  return take_items(pickle, arguments, result.items);
}

// OrderedDict([[key, value], …]) of old protocols, OrderedDict(), dict().
bool make_dict(Pickle& pickle, const PickleNode& arguments, PickleNode& result) {
  result.kind = PickleKind::dict;
  std::vector<PickleRef> pairs;
  if (!take_items(pickle, arguments, pairs)) return false;
  for (const PickleRef ref : pairs) {
    const PickleNode& pair = pickle[ref];
    if ((pair.kind != PickleKind::list && pair.kind != PickleKind::tuple) || pair.items.size() != 2) return false;
    result.items.insert(result.items.end(), pair.items.begin(), pair.items.end());
  }
  return true;
}

bool make_default_dict(Pickle&, const PickleNode&, PickleNode& result) {
  result.kind = PickleKind::dict;  // its argument is the factory of missing values
  return true;
}

// int(x), float(x), bool(x), str(x): the argument, where it is one already.
template <PickleKind kind>
bool make_scalar(Pickle& pickle, const PickleNode& arguments, PickleNode& result) {
  if (arguments.items.size() != 1 || pickle[arguments.items[0]].kind != kind) return false;
  result = pickle[arguments.items[0]];
  return true;
}

// _codecs.encode(text, "latin1"): how protocol 2 writes bytes. Each character is one byte; two of UTF-8 from 128 on.
bool make_encoded(Pickle& pickle, const PickleNode& arguments, PickleNode& result) {
  if (arguments.items.empty() || pickle[arguments.items[0]].kind != PickleKind::text) return false;
  const std::string_view text = pickle[arguments.items[0]].text;
  pickle.charge(text.size() / 16);
  std::string bytes;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool pair = (c == 0xC2 || c == 0xC3) && i + 1 < text.size();
    if (c >= 0x80 && !pair) return false;
    bytes += static_cast<char>(pair ? (c & 3) << 6 | (text[++i] & 63) : c);
  }
  result.kind = PickleKind::bytes;
  result.text = pickle.keep(std::move(bytes));
  return true;
}

template <class Number>
bool number_of(std::string_view bytes, PickleNode& result) {
  if (bytes.size() != sizeof(Number)) return false;
  Number value;
  std::memcpy(&value, bytes.data(), sizeof(Number));
  if constexpr (std::is_integral_v<Number>) {
    result.kind = PickleKind::integer;
    result.integer = static_cast<int64_t>(value);
  } else {
    result.kind = PickleKind::real;
    result.real = static_cast<double>(value);
  }
  return true;
}

struct NumpyType {
  std::string_view code;
  bool (*read)(std::string_view bytes, PickleNode& result);
};
constexpr std::array<NumpyType, 11> kNumpyTypes{{
    {"f8", number_of<double>},
    {"f4", number_of<float>},
    {"f2", number_of<c10::Half>},
    {"i8", number_of<int64_t>},
    {"i4", number_of<int32_t>},
    {"i2", number_of<int16_t>},
    {"i1", number_of<int8_t>},
    {"u4", number_of<uint32_t>},
    {"u2", number_of<uint16_t>},
    {"u1", number_of<uint8_t>},
    {"b1", number_of<uint8_t>},
}};

// numpy.core.multiarray.scalar(numpy.dtype("f8", …), bytes); numpy writes little-endian on every machine that matters here.
bool make_numpy_scalar(Pickle& pickle, const PickleNode& arguments, PickleNode& result) {
  if (arguments.items.size() != 2) return false;
  const PickleNode &type = pickle[arguments.items[0]], &value = pickle[arguments.items[1]];
  if (pickle.callable(type) != "numpy dtype" || (value.kind != PickleKind::bytes && value.kind != PickleKind::text)) return false;
  const PickleNode& type_arguments = pickle[type.items[1]];
  if (type_arguments.kind != PickleKind::tuple || type_arguments.items.empty()) return false;
  const std::string_view code = pickle[type_arguments.items[0]].text;
  const auto* row = std::ranges::find(kNumpyTypes, code, &NumpyType::code);
  return row != kNumpyTypes.end() && row->read(value.text, result);
}

struct KnownCall {
  std::string_view module, name;
  Make make;
};
constexpr std::array kKnownCalls{
    KnownCall{"collections", "OrderedDict", make_dict},
    KnownCall{"collections", "defaultdict", make_default_dict},
    KnownCall{"builtins", "dict", make_dict},
    KnownCall{"builtins", "list", make_sequence<PickleKind::list>},
    KnownCall{"builtins", "tuple", make_sequence<PickleKind::tuple>},
    KnownCall{"builtins", "set", make_sequence<PickleKind::set>},
    KnownCall{"builtins", "frozenset", make_sequence<PickleKind::set>},
    KnownCall{"builtins", "int", make_scalar<PickleKind::integer>},
    KnownCall{"builtins", "float", make_scalar<PickleKind::real>},
    KnownCall{"builtins", "bool", make_scalar<PickleKind::boolean>},
    KnownCall{"builtins", "str", make_scalar<PickleKind::text>},
    KnownCall{"builtins", "bytearray", make_scalar<PickleKind::bytes>},
    KnownCall{"torch", "Size", make_sequence<PickleKind::tuple>},
    KnownCall{"_codecs", "encode", make_encoded},
    KnownCall{"numpy.core.multiarray", "scalar", make_numpy_scalar},
    KnownCall{"numpy._core.multiarray", "scalar", make_numpy_scalar},
};

// Modules of which nothing belongs into a file of weights: they start programs, read files, load code. A name stands for the
// modules below it too. Nothing would be run in any case; the refusal tells the person what the file tries.
constexpr std::array<std::string_view, 62> kCodeModules{
    "os",           "posix",     "nt",          "subprocess",    "sys",        "shutil",     "socket",    "runpy",
    "importlib",    "imp",       "pty",         "commands",      "popen2",     "webbrowser", "code",      "codeop",
    "ctypes",       "_ctypes",   "pickle",      "_pickle",       "cPickle",    "marshal",    "asyncio",   "multiprocessing",
    "threading",    "signal",    "timeit",      "cProfile",      "profile",    "pdb",        "bdb",       "trace",
    "idlelib",      "distutils", "setuptools",  "pip",           "ensurepip",  "venv",       "lib2to3",   "doctest",
    "http",         "httplib",   "urllib",      "urllib2",       "requests",   "ftplib",     "smtplib",   "telnetlib",
    "socketserver", "xmlrpc",    "sqlite3",     "tempfile",      "io",         "_io",        "zipimport", "pkgutil",
    "pydoc",        "dill",      "cloudpickle", "numpy.testing", "numpy.f2py", "torch.hub"};

struct CodeName {
  std::string_view module, name;
};
constexpr std::array kCodeNames{
    CodeName{"builtins", "eval"},
    CodeName{"builtins", "exec"},
    CodeName{"builtins", "execfile"},
    CodeName{"builtins", "compile"},
    CodeName{"builtins", "open"},
    CodeName{"builtins", "file"},
    CodeName{"builtins", "input"},
    CodeName{"builtins", "raw_input"},
    CodeName{"builtins", "__import__"},
    CodeName{"builtins", "breakpoint"},
    CodeName{"builtins", "apply"},
    CodeName{"builtins", "globals"},
    CodeName{"types", "CodeType"},
    CodeName{"types", "FunctionType"},
    CodeName{"types", "LambdaType"},
    CodeName{"operator", "methodcaller"},
    CodeName{"operator", "attrgetter"},
    CodeName{"platform", "popen"},
    CodeName{"torch", "load"},
    CodeName{"torch.jit", "load"},
    CodeName{"torch.serialization", "load"},
    CodeName{"numpy", "load"},
};

std::string_view modern(std::string_view module) { return module == "__builtin__" ? "builtins" : module; }

}  // namespace

void refuse_code(std::string_view module, std::string_view name) {
  module = modern(module);
  bool code = std::ranges::any_of(kCodeNames,
                                  [&](const CodeName& row) { return row.module == module && row.name == name.substr(0, name.find('.')); });
  for (const auto row : kCodeModules) {
    code = code || module == row || (starts_with(module, row) && module[row.size()] == '.');
  }
  if (!code) return;
  throw Error(ErrorKind::unsupported, "refuses to run " + valid_utf8(module) + "." + valid_utf8(name) + "; this file contains code",
              "nothing of it was run; do not open the file with other programs, get a .safetensors version of it");
}

PickleRef call_as_data(Pickle& pickle, PickleRef callable, PickleRef arguments) {
  PickleNode result;
  const PickleNode& what = pickle[callable];
  if (what.kind == PickleKind::global && pickle[arguments].kind == PickleKind::tuple) {
    const std::string_view module = modern(what.text.substr(0, what.text.find(' ')));
    const std::string_view name = what.text.substr(what.text.find(' ') + 1);
    for (const auto& row : kKnownCalls) {
      if (row.module != module || row.name != name) continue;
      if (row.make(pickle, pickle[arguments], result)) return pickle.add(std::move(result));
      break;
    }
  }
  return pickle.add({.kind = PickleKind::call, .items = {callable, arguments}});
}

}  // namespace lorikeet
